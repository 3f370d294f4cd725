//! `Environment`: variables that many commands share, laid out once as execve
//! reads them.

use core::ops::Range;

use crate::parent::error::{Error, Step};
use crate::parent::std::{
    boxed::Box,
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    sync::{Arc, OnceLock},
    vec::Vec,
};

/// A set of environment variables for many commands:
/// [`Command::environment`](crate::Command::environment).
///
/// The first command that uses it lays the variables out in memory as the
/// kernel reads them. Further commands, and clones of it, use the same memory,
/// so their spawns neither read nor copy variables. A clone costs one atomic
/// addition; [`set`](Environment::set) and [`remove`](Environment::remove)
/// change this one only.
///
/// Setters never fail. A name or value that is not valid is an error of the
/// command that uses it, as for [`Command::env`](crate::Command::env). `{:?}`
/// shows the names without the values.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Environment};
///
/// let mut env = Environment::inherit();
/// env.set("LC_ALL", "C").remove("LS_COLORS");
/// for file in ["a", "b", "c"] {
///     Command::new("echo").arg(file).environment(&env).status()?;
/// }
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    inner: Arc<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    inherited: Vec<(OsString, OsString)>,
    /// Variables that were set, or removed where the value is `None`.
    vars: BTreeMap<OsString, Option<OsString>>,
    packed: OnceLock<Arc<Packed>>,
}

/// Variables as execve reads them: each `NAME=value` with its NUL, and the
/// list of their addresses with its final 0.
pub(crate) struct Packed {
    text: Box<[u8]>,
    list: Box<[u64]>,
    /// The value of the first PATH.
    path: Option<Range<usize>>,
}

/// The error for a string with a NUL byte: the kernel would end it there.
pub(crate) const NUL: &str = "it contains a NUL byte";

/// The most text: the kernel takes at most 6 MiB of arguments and environment,
/// and offsets into the text of a helper image have 32 bits.
const MOST: usize = 1 << 31;

/// Returns why no variable can have this name.
pub(crate) fn invalid_name(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("the name is empty"),
        _ if memchr::memchr(b'=', name).is_some() => {
            Some("the name contains '='")
        }
        _ => memchr::memchr(0, name).map(|_| NUL),
    }
}

/// Returns name and value of an entry. As in std, a name may begin with `=`.
pub(crate) fn split(entry: &[u8]) -> (&OsStr, &OsStr) {
    let rest = entry.get(1..).unwrap_or_default();
    let at = memchr::memchr(b'=', rest).map_or(entry.len(), |at| at + 1);
    let (name, value) = entry.split_at(at);
    let value = value.get(1..).unwrap_or_default();
    (OsStr::from_bytes(name), OsStr::from_bytes(value))
}

impl Environment {
    /// Creates an environment without variables.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Environment};
    ///
    /// let mut env = Environment::new();
    /// env.set("A", "1");
    /// let output = Command::new("env").environment(&env).output()?;
    /// assert_eq!(output.stdout, b"A=1\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Environment {
        Environment::default()
    }

    /// Copies the variables of this process, as [`std::env::vars_os`] lists
    /// them: it takes std's lock, so another thread may call
    /// [`std::env::set_var`]. Later changes of the process's environment have
    /// no effect on it.
    ///
    /// The order is kept, as are names that occur twice and bytes that are not
    /// UTF-8. Entries without `=` are left out, as std does not list them.
    ///
    /// # Examples
    ///
    /// ```
    /// let env = offshoot::Environment::inherit();
    /// assert_eq!(env.get("PATH"), std::env::var_os("PATH").as_deref());
    /// ```
    ///
    /// [`std::env::vars_os`]: https://doc.rust-lang.org/std/env/fn.vars_os.html
    /// [`std::env::set_var`]: https://doc.rust-lang.org/std/env/fn.set_var.html
    #[must_use]
    pub fn inherit() -> Environment {
        let inherited = env::vars_os().collect();
        let inner = Inner { inherited, ..Inner::default() };
        Environment { inner: Arc::new(inner) }
    }

    /// Sets a variable, replacing an earlier value.
    ///
    /// # Errors
    ///
    /// None here. A command that uses it fails with
    /// [`Step::Env`](crate::Step::Env), naming the variable, if the name is
    /// empty or contains `=`, or if name or value contain a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut env = offshoot::Environment::new();
    /// env.set("A", "1").set("A", "2");
    /// assert_eq!(env.get("A").unwrap(), "2");
    /// ```
    pub fn set<K, V>(&mut self, key: K, value: V) -> &mut Environment
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let key = key.as_ref().to_os_string();
        let value = value.as_ref().to_os_string();
        self.change().vars.insert(key, Some(value));
        self
    }

    /// Removes a variable.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut env = offshoot::Environment::from([("A", "1"), ("B", "2")]);
    /// assert_eq!(env.remove("A").len(), 1);
    /// ```
    pub fn remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Environment {
        let key = key.as_ref();
        let inner = self.change();
        if inner.inherited.iter().any(|(name, _)| name == key) {
            inner.vars.insert(key.to_os_string(), None);
        } else {
            inner.vars.remove(key);
        }
        self
    }

    /// Returns the value of a variable; of several with one name the first, as
    /// `getenv` does.
    #[must_use]
    pub fn get<K: AsRef<OsStr>>(&self, key: K) -> Option<&OsStr> {
        let key = key.as_ref();
        if let Some(value) = self.inner.vars.get(key) {
            return value.as_deref();
        }
        let mut all = self.inner.inherited.iter();
        all.find(|(name, _)| name == key).map(|(_, value)| value.as_os_str())
    }

    /// Returns names and values in the order in which a program gets them:
    /// what was inherited in its order, then what was set, by name.
    ///
    /// # Examples
    ///
    /// ```
    /// let env = offshoot::Environment::from([("B", "2"), ("A", "1")]);
    /// let names: Vec<_> = env.iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["A", "B"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> + Clone {
        let Inner { inherited, vars, .. } = &*self.inner;
        let unchanged =
            inherited.iter().filter(|(name, _)| !vars.contains_key(name));
        let unchanged = unchanged
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let set = vars.iter().filter_map(|(name, value)| {
            Some((name.as_os_str(), value.as_deref()?))
        });
        unchanged.chain(set)
    }

    /// Returns the number of variables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether there is no variable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The variables, to change them.
    fn change(&mut self) -> &mut Inner {
        let inner = Arc::make_mut(&mut self.inner);
        inner.packed.take();
        inner
    }

    /// Returns the variables as execve reads them, valid ones.
    pub(crate) fn packed(&self) -> Result<Arc<Packed>, Error> {
        if let Some(packed) = self.inner.packed.get() {
            return Ok(Arc::clone(packed));
        }
        let packed = Arc::new(self.pack()?);
        // Another thread may be first, with the same.
        let _ = self.inner.packed.set(Arc::clone(&packed));
        Ok(packed)
    }

    fn pack(&self) -> Result<Packed, Error> {
        let mut room = 0usize;
        for (name, value) in &self.inner.vars {
            let Some(value) = value else { continue };
            let nul = || memchr::memchr(0, value.as_bytes()).map(|_| NUL);
            if let Some(why) = invalid_name(name.as_bytes()).or_else(nul) {
                return Err(Error::refused(Step::Env, why).with(name));
            }
        }
        for (name, value) in self.iter() {
            let len = name.len().saturating_add(value.len());
            room = room.saturating_add(len).saturating_add(2);
        }
        if room > MOST {
            let why = "the environment has over 2 GiB of text";
            return Err(Error::refused_as(Step::Env, libc::E2BIG, why));
        }
        let mut text = Vec::with_capacity(room);
        let mut list = Vec::with_capacity(self.len() + 1);
        let mut path = None;
        for (name, value) in self.iter() {
            list.push(text.len() as u64);
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            let start = text.len();
            text.extend_from_slice(value.as_bytes());
            if name == "PATH" && path.is_none() {
                path = Some(start..text.len());
            }
            text.push(0);
        }
        let text = text.into_boxed_slice();
        let base = text.as_ptr().expose_provenance() as u64;
        list.iter_mut().for_each(|at| *at += base);
        list.push(0);
        Ok(Packed { text, list: list.into_boxed_slice(), path })
    }
}

impl Packed {
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The addresses of the entries, and 0.
    pub(crate) fn list(&self) -> &[u64] {
        &self.list
    }

    /// The list for a copy of the text at address `to`.
    pub(crate) fn list_at(&self, to: u64) -> impl Iterator<Item = u64> {
        let base = self.text.as_ptr().expose_provenance() as u64;
        let moved = move |at: &u64| if *at == 0 { 0 } else { at - base + to };
        self.list.iter().map(moved)
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len() - 1
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        // Each ends in a NUL, so the last part is empty.
        self.text.split(|byte| *byte == 0).take(self.count())
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.text.get(self.path.clone()?)
    }
}

/// Printed in place of a value.
pub(super) struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Shows the names without the values.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.iter().map(|(name, _)| (name, Hidden));
        f.debug_map().entries(hidden).finish()
    }
}

/// The same variables in the same order.
impl PartialEq for Environment {
    fn eq(&self, other: &Environment) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.iter().eq(other.iter())
    }
}

impl Eq for Environment {}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> Extend<(K, V)> for Environment {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, vars: I) {
        for (key, value) in vars {
            self.set(key, value);
        }
    }
}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Environment {
        let mut environment = Environment::new();
        environment.extend(vars);
        environment
    }
}

impl<K, V, const N: usize> From<[(K, V); N]> for Environment
where
    K: AsRef<OsStr>,
    V: AsRef<OsStr>,
{
    fn from(vars: [(K, V); N]) -> Environment {
        vars.into_iter().collect()
    }
}
