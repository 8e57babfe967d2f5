//! Rust source as tidy sees it: code without its comments and strings.
//!
//! This is not a parser. It knows just enough of the language to tell what is code from what merely mentions it, so
//! that a comment about `unsafe` is not an `unsafe` block.

use std::path::{Path, PathBuf};

/// Directories that hold no source of ours.
const SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts", "artefacts"];

/// Every file below `root` with one of these extensions, in order of path.
pub(crate) fn files(root: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // `corpus` is also the name of a crate: only data directories are skipped.
                let is_data =
                    SKIPPED.iter().any(|skipped| name == *skipped) && !path.join("Cargo.toml").exists();
                if !is_data {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `source` with every comment, string and character literal blanked; lines keep their numbers.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment(&chars, at);
        if end > at {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['"', ..] => at + quoted(rest, '"'),
        ['\'', ..] => at + character(rest),
        ['r' | 'b' | 'c', ..] if !continues_a_word(chars, at) => {
            let letters = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
            let hashes = rest[letters..].iter().take_while(|c| **c == '#').count();
            let raw = rest[..letters].contains(&'r');
            match rest.get(letters + hashes) {
                Some('"') if raw => at + letters + hashes + raw_string(&rest[letters + hashes..], hashes),
                Some('"') if hashes == 0 => at + letters + quoted(&rest[letters..], '"'),
                Some('\'') if hashes == 0 && letters == 1 && rest[0] == 'b' => {
                    at + 1 + quoted(&rest[1..], '\'')
                }
                _ => at,
            }
        }
        _ => at,
    }
}

fn continues_a_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a literal closed by `quote`, with escapes.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw string whose opening quote is the first character.
fn raw_string(rest: &[char], hashes: usize) -> usize {
    let mut at = 1;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

/// Length of a character literal; 0 when the quote begins a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// Does `code` hold `word` as a whole word? Returns the line, counted from 1.
pub(crate) fn line_with_word(code: &str, word: &str) -> Option<usize> {
    code.lines().position(|line| has_word(line, word)).map(|index| index + 1)
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part)
            && (word.ends_with(|c: char| !is_part(c)) || !line[at + word.len()..].starts_with(is_part))
    })
}

#[cfg(test)]
mod tests;
