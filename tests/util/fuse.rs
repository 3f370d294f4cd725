//! FUSE: a file system with one program, whose contents are never read: the
//! server takes the request and does not answer until it is dropped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Requests of `linux/fuse.h`.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const ACCESS: u32 = 34;
const BATCH_FORGET: u32 = 42;

/// A file system that hangs, mounted in a mount namespace of this thread's
/// process.
pub struct Hanging {
    dir: PathBuf,
    /// A request to read the program has been taken.
    pub hangs: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Hanging {
    /// Mounts it. The caller is root in a mount namespace of its own.
    pub fn mount(dir: &Path) -> io::Result<Hanging> {
        let mut options = File::options();
        let device = options.read(true).write(true).open("/dev/fuse")?;
        let fd = device.as_raw_fd();
        let data =
            format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
        let name = |text: &str| std::ffi::CString::new(text).unwrap();
        let (data, kind) = (name(&data), name("fuse"));
        let at = name(dir.to_str().unwrap());
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: reads four C strings.
        let done = unsafe {
            let data = data.as_ptr().cast();
            libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, data)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let hangs = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&hangs);
        let server = Some(thread::spawn(move || serve(device, &own)));
        Ok(Hanging { dir: dir.into(), hangs, server })
    }

    pub fn program(&self) -> PathBuf {
        self.dir.join("program")
    }
}

impl Drop for Hanging {
    /// Ends all requests: the processes that wait for them get an error.
    fn drop(&mut self) {
        let at = std::ffi::CString::new(self.dir.to_str().unwrap()).unwrap();
        let abort =
            |dir: fs::DirEntry| fs::write(dir.path().join("abort"), "1");
        for entry in
            fs::read_dir("/sys/fs/fuse/connections").into_iter().flatten()
        {
            let _ = entry.map(abort);
        }
        // SAFETY: reads one C string.
        unsafe {
            libc::umount2(at.as_ptr(), libc::MNT_DETACH | libc::MNT_FORCE)
        };
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(mut device: File, hangs: &AtomicBool) {
    let mut buffer = vec![0; 1 << 17];
    while let Ok(len) = device.read(&mut buffer) {
        let word = |at: usize| {
            let bytes = buffer.get(at..at + 4).unwrap();
            u32::from_ne_bytes(bytes.try_into().unwrap())
        };
        let long =
            |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        assert!(len >= 40);
        let (request, id, node) = (word(4), long(8), long(16));
        let answer: (i32, Vec<u8>) = match request {
            READ => {
                hangs.store(true, Ordering::SeqCst);
                continue;
            }
            FORGET | BATCH_FORGET => continue,
            INIT => (0, init()),
            LOOKUP => (0, entry()),
            GETATTR => (0, [vec![0; 16], attributes(node)].concat()),
            OPEN | OPENDIR => (0, vec![0; 16]),
            RELEASE | RELEASEDIR | FLUSH | ACCESS => (0, Vec::new()),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let (error, body) = answer;
        let size = u32::try_from(16 + body.len()).unwrap();
        let mut reply = size.to_ne_bytes().to_vec();
        reply.extend(error.to_ne_bytes());
        reply.extend(id.to_ne_bytes());
        reply.extend(body);
        // ENOENT: the request was interrupted.
        let _ = device.write(&reply);
    }
}

/// `fuse_init_out` of version 7.19.
fn init() -> Vec<u8> {
    let words: [u32; 6] = [7, 19, 0, 0, 0, 1 << 16];
    let mut all: Vec<u8> =
        words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    all.resize(24, 0);
    all
}

/// `fuse_entry_out`: node 2.
fn entry() -> Vec<u8> {
    let longs: [u64; 4] = [2, 0, 60, 60];
    let mut all: Vec<u8> =
        longs.iter().flat_map(|w| w.to_ne_bytes()).collect();
    all.extend([0; 8]);
    all.extend(attributes(2));
    all
}

/// `fuse_attr`: a directory, or a program of one page.
fn attributes(node: u64) -> Vec<u8> {
    let longs: [u64; 6] = [node, 4096, 8, 0, 0, 0];
    let mode = if node == 1 { 0o040_755 } else { 0o100_755 };
    let words: [u32; 10] = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
    let longs = longs.iter().flat_map(|w| w.to_ne_bytes());
    longs.chain(words.iter().flat_map(|w| w.to_ne_bytes())).collect()
}
