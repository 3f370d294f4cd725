//! Imports between the files of a crate, and their cycles.

use std::collections::{BTreeMap, BTreeSet};

/// Which file imports from which others.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the imports of every file. A path counts as an import from the
/// longest file name in it; a name that a `mod.rs` re-exports, as one from the
/// file that defines it. Declaring a child module or re-exporting from it is
/// not an import: the `mod.rs` is then an index. But where the code of a
/// `mod.rs` uses a child module that imports from the `mod.rs`, neither can be
/// understood without the other: that is a cycle.
pub(super) fn imports(files: &[(Vec<String>, &str)]) -> Imports {
    let names: BTreeSet<String> =
        files.iter().map(|(own, _)| own.join("::")).collect();
    let mut defined_in = BTreeMap::new();
    let mut used = Vec::new();
    for (own, code) in files {
        let (reexports, rest) = split_reexports(code);
        for path in all_paths(&reexports, own, &names) {
            let name = path.last().cloned().unwrap_or_default();
            let word = |c: char| !(c.is_alphanumeric() || c == '_');
            if rest.split(word).any(|word| word == name) {
                used.push((own, path.clone()));
            }
            defined_in.insert([own.clone(), vec![name]].concat(), path);
        }
        let found = all_paths(&rest, own, &names);
        used.extend(found.into_iter().map(|path| (own, path)));
    }
    let mut all = Imports::new();
    for (own, mut path) in used {
        let origin = |path: &Vec<String>| {
            // What has a file's name is the file, unless it is the last.
            let is_file = |n: usize| {
                n < path.len() && names.contains(&path[..n].join("::"))
            };
            let mut ends = (1..=path.len()).rev().take_while(|n| !is_file(*n));
            ends.find_map(|n| defined_in.get(&path[..n]).cloned())
        };
        // Globs may re-export from each other.
        let mut seen = BTreeSet::new();
        while let Some(defined) = origin(&path) {
            if !seen.insert(defined.clone()) {
                break;
            }
            path = defined;
        }
        let mut prefixes =
            (0..=path.len()).rev().map(|n| path[..n].join("::"));
        let to = prefixes.find(|name| names.contains(name));
        let (own, to) = (own.join("::"), to.unwrap_or_default());
        if to != own {
            all.entry(own).or_default().insert(to);
        }
    }
    all
}

/// Splits the `pub use` items of a file from the rest of its code.
fn split_reexports(code: &str) -> (String, String) {
    let (mut reexports, mut rest) = (String::new(), String::new());
    for item in code.split_inclusive(';') {
        let start = item.rfind("pub").filter(|at| {
            let mut words = item[*at..].split_whitespace();
            let visibility = words.next().unwrap_or_default();
            let short = visibility == "pub" || visibility.ends_with(')');
            short && words.next() == Some("use")
        });
        let (before, reexport) = item.split_at(start.unwrap_or(item.len()));
        rest.push_str(before);
        reexports.push_str(reexport);
    }
    (reexports, rest)
}

/// Returns `paths`, and those of a `mod.rs` that begin with a child of it.
fn all_paths(
    code: &str,
    own: &[String],
    names: &BTreeSet<String>,
) -> Vec<Vec<String>> {
    let mut found = paths(code, own);
    let prefix = own.join("::") + "::";
    let prefix = prefix.trim_start_matches("::");
    for child in names.iter().filter_map(|name| name.strip_prefix(prefix)) {
        let start = format!("{child}::");
        for (at, _) in code.match_indices(&start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !(before.is_alphanumeric() || before == '_' || before == ':') {
                let tails = expand(&code[at..]);
                found.extend(tails.iter().map(|p| [own, p].concat()));
            }
        }
    }
    found
}

/// Returns the cycles: the files that import from each other, through others
/// too.
pub(super) fn cycles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(name) = next.pop() {
            let targets = imports.get(name).into_iter().flatten();
            next.extend(targets.filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|name| (name, reached(name))).collect();
    let cycle = |name: &&String| -> Vec<String> {
        let back =
            |to: &&String| reach.get(*to).is_some_and(|r| r.contains(*name));
        reach[*name].iter().filter(back).cloned().collect()
    };
    let all = reach.keys().map(cycle);
    all.filter(|cycle| !cycle.is_empty()).collect()
}

/// Returns every path in the code that begins with `crate` or `super`, from the
/// root of the crate, with `{a, b}` expanded.
pub(super) fn paths(code: &str, own: &[String]) -> Vec<Vec<String>> {
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            for path in expand(&code[at..]) {
                let mut from = own.to_vec();
                let mut words = path.into_iter().peekable();
                if words.next_if(|word| word == "crate").is_some() {
                    from.clear();
                }
                while words.next_if(|word| word == "super").is_some() {
                    from.pop();
                }
                from.extend(words);
                found.push(from);
            }
        }
    }
    found
}

/// Returns the paths of `a::{b, c::d}`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(rest) = rest.strip_prefix("::") else {
        return vec![vec![word.to_string()]];
    };
    let tails = match rest.strip_prefix('{') {
        None => expand(rest),
        Some(list) => {
            let (mut depth, mut from, mut tails) = (0, 0, Vec::new());
            for (at, c) in list.char_indices() {
                if depth == 0 && (c == ',' || c == '}') {
                    let item = list[from..at].trim();
                    if !item.is_empty() {
                        tails.extend(expand(item));
                    }
                    from = at + 1;
                }
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            tails
        }
    };
    let join = |tail: Vec<String>| [vec![word.to_string()], tail].concat();
    tails.into_iter().map(join).collect()
}
