//! Lowering of who the child is: each change is read back and compared, as
//! a filter can turn it into a call without effect.

use super::lower::Rows;
use crate::call::{Check, ROW, local, slot};
use crate::parent::plan::op::Str;
use crate::sys::bits;

impl Rows {
    /// Nobody who stays the same user needs the right to drop groups, as
    /// std has it; whoever becomes another must be able to.
    pub(super) fn clear_groups(&mut self, uid: Option<u32>, gid: Option<u32>) {
        let (nr, own) = match (uid, gid) {
            (Some(uid), _) => (libc::SYS_geteuid, uid),
            (None, gid) => (libc::SYS_getegid, gid.unwrap_or_default()),
        };
        let same = self.call(nr, &[]);
        same.check = Check::Skip;
        same.want = u64::from(own);
        same.skip = 3 * ROW;
        self.call(libc::SYS_setgroups, &[0, 0]);
        self.count_groups(0);
        let done = self.push(local::VALUE, &[0]);
        done.check = Check::Skip;
        done.skip = ROW;
        self.call(libc::SYS_setgroups, &[0, 0]).check = Check::May;
    }

    /// The kernel gives them back in the order of its own ids, which in a
    /// user namespace is any order. But a call that a filter made one without
    /// effect leaves what was there: so none come first, and then as many as
    /// the list has, however long it is.
    ///
    /// In this process none are given up first: should the list be refused,
    /// they are to be what they were.
    pub(super) fn setgroups(&mut self, list: Str, count: u32, here: bool) {
        if count > 0 && !here {
            self.call(libc::SYS_setgroups, &[0, 0]);
            self.count_groups(0);
        }
        let args = [count.into(), u64::from(list.start)];
        self.call(libc::SYS_setgroups, &args).texts = 0b10;
        self.count_groups(count);
    }

    fn count_groups(&mut self, count: u32) {
        let row = self.call(libc::SYS_getgroups, &[0, 0]);
        row.check = Check::Equal;
        row.want = u64::from(count);
    }

    pub(super) fn setgid(&mut self, gid: u32) {
        self.call(libc::SYS_setresgid, &[gid.into(); 3]);
        self.read_back(libc::SYS_getresgid, gid);
    }

    pub(super) fn setuid(&mut self, uid: u32) {
        self.call(libc::SYS_setresuid, &[uid.into(); 3]);
        self.read_back(libc::SYS_getresuid, uid);
    }

    /// Real, effective and saved id must all be `id`.
    fn read_back(&mut self, nr: libc::c_long, id: u32) {
        let places = [0, 1, 2].map(|n| u64::from(slot::IDS_ADDR + n));
        self.call(nr, &places).slots = 0b111;
        for n in 0..3 {
            let row = self.push(local::VALUE, &[u64::from(slot::IDS + n)]);
            row.slots = 0b1;
            row.check = Check::Equal;
            row.want = bits(i64::from(id));
        }
    }
}
