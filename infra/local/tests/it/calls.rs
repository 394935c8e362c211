//! What a handler may come to call: the source of every function that can be reached from it, by name.
//!
//! A sketch of a call graph: where a name may mean several functions, all of them count.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A crate's source.
pub struct Source(Vec<Function>);

struct Function {
    file: PathBuf,
    name: String,
    is_method: bool,
    /// Signature and body, squeezed.
    text: String,
}

/// A crate's files without tests.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A file without tests and comments, on one line.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
    code.filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, " "]).collect()
}

/// Without type arguments and blanks but those between words.
fn squeezed(code: &str) -> String {
    let mut squeezed = String::new();
    for word in code.split_whitespace() {
        if squeezed.ends_with(is_word) && word.starts_with(is_word) {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    while let Some((before, rest)) = squeezed.split_once("::<") {
        let Some((_, after)) = rest.split_once(">(") else { break };
        squeezed = format!("{before}({after}");
    }
    squeezed
}

/// A file without tests and comments, squeezed.
pub fn text(file: &Path) -> String {
    squeezed(&code(file))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Source {
    /// Reads the files.
    pub fn read(files: &[PathBuf]) -> Self {
        let mut functions = Vec::new();
        for file in files {
            let code = code(file);
            for part in code.split(" fn ").skip(1) {
                let name = part.chars().take_while(|c| is_word(*c)).collect();
                let signature = part.split('{').next().unwrap();
                let is_method = signature.split('(').nth(1).unwrap().split(',').next().unwrap().contains("self");
                functions.push(Function { file: file.clone(), name, is_method, text: squeezed(part) });
            }
        }
        assert!(!functions.is_empty());
        Self(functions)
    }

    /// The text of everything that `paths` (`module::function`) can reach.
    pub fn reachable(&self, paths: &[String]) -> String {
        let mut open: Vec<usize> = Vec::new();
        for path in paths {
            let found = self.referenced(Path::new(""), path);
            assert!(!found.is_empty(), "{path} is not found");
            open.extend(found);
        }
        let mut reached = BTreeSet::new();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                let Function { file, text, .. } = &self.0[next];
                open.extend(self.referenced(file, text));
            }
        }
        reached.into_iter().map(|index| self.0[index].text.as_str()).collect()
    }

    /// The functions that `text`, which stands in `file`, names.
    fn referenced(&self, file: &Path, text: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (start, _) in text.char_indices().filter(|(_, c)| is_word(*c)) {
            let (before, rest) = text.split_at(start);
            // A function's text begins with its own name.
            if before.is_empty() && !file.as_os_str().is_empty() || before.ends_with(is_word) {
                continue;
            }
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let called = rest.strip_prefix(&*name).is_some_and(|after| after.starts_with('('));
            let is_ours = self.0.iter().any(|f| f.file == file && f.name == name && !f.is_method);
            let fits = |function: &Function| {
                if function.name != name {
                    return false;
                }
                if let Some(path) = before.strip_suffix("::") {
                    let owner = path.rsplit(|c| !is_word(c)).next().unwrap();
                    return function.stands_in(owner, file);
                }
                match (called, before.ends_with('.')) {
                    (true, true) => function.is_method,
                    // Its own file's, or else imported.
                    (true, false) => !function.is_method && (function.file == file || !is_ours),
                    (false, dotted) => !dotted && function.file == file && !function.is_method,
                }
            };
            found.extend((0..self.0.len()).filter(|index| fits(&self.0[*index])));
        }
        // The verifier is shared code; it asks its source of keys.
        if text.contains("app.verifier") {
            found.extend((0..self.0.len()).filter(|index| self.0[*index].name == "key" && self.0[*index].is_method));
        }
        found
    }
}

impl Function {
    fn stands_in(&self, owner: &str, file: &Path) -> bool {
        if owner == "Self" {
            return self.file == file;
        }
        if owner.starts_with(|c: char| c.is_ascii_uppercase()) {
            let code = code(&self.file);
            return code.contains(&format!("impl {owner} "))
                || code.contains(&format!("for {owner} "))
                || code.contains(&format!("impl {owner}<"))
                || code.contains(&format!("impl<'a> {owner}<"));
        }
        let stem = self.file.file_stem().unwrap();
        let folder = self.file.parent().and_then(Path::file_name);
        stem == owner || (stem == "mod" && folder.is_some_and(|folder| folder == owner))
    }
}
