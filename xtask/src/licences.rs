//! Licences of everything we link, from `cargo metadata`.
//!
//! A dependency is welcome when its SPDX expression can be met with the licences of [`WELCOME`].

use crate::workspace::Package;

/// Licences whose conditions both of ours can carry.
const WELCOME: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "OpenSSL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// The packages whose licence is not welcome, one sentence each.
pub(crate) fn violations(externals: &[Package]) -> Vec<String> {
    externals
        .iter()
        .filter_map(|package| {
            let Some(expression) = package.license.as_deref() else {
                return Some(format!("{} {}: declares no licence", package.name, package.version));
            };
            (!is_welcome(expression)).then(|| {
                format!(
                    "{} {}: licence {expression} cannot be met with those of xtask/src/licences.rs",
                    package.name, package.version
                )
            })
        })
        .collect()
}

/// Can this SPDX expression be met? `OR` needs one side, `AND` both; the old `/` means `OR`.
fn is_welcome(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Expression { tokens: &tokens, at: 0 };
    let met = parser.any_of();
    // What is left over was not understood, and what is not understood is not welcome.
    met && parser.at == tokens.len()
}

struct Expression<'a> {
    tokens: &'a [&'a str],
    at: usize,
}

impl Expression<'_> {
    fn accept(&mut self, token: &str) -> bool {
        let matches = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(matches);
        matches
    }

    fn any_of(&mut self) -> bool {
        let mut met = self.all_of();
        while self.accept("OR") {
            met |= self.all_of();
        }
        met
    }

    fn all_of(&mut self) -> bool {
        let mut met = self.one();
        while self.accept("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.accept("(") {
            let met = self.any_of();
            return self.accept(")") && met;
        }
        // Past the end, so that a dangling operator is seen as not understood.
        self.at += 1;
        let Some(licence) = self.tokens.get(self.at - 1) else { return false };
        if self.accept("WITH") {
            let exception = self.tokens.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            return WELCOME.contains(&format!("{licence} WITH {exception}").as_str());
        }
        WELCOME.contains(licence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_side_of_or_will_do() {
        assert!(is_welcome("MIT OR GPL-3.0-only"));
        assert!(is_welcome("GPL-2.0-only OR (MIT AND ISC)"));
        assert!(is_welcome("MIT/Apache-2.0"));
    }

    #[test]
    fn both_sides_of_and_are_needed() {
        assert!(is_welcome("ISC AND (Apache-2.0 OR ISC) AND OpenSSL"));
        assert!(!is_welcome("MIT AND GPL-3.0-only"));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert!(is_welcome("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"));
        assert!(!is_welcome("GPL-2.0-only WITH Classpath-exception-2.0"));
    }

    #[test]
    fn nonsense_is_not_welcome() {
        for nonsense in ["", "(MIT", "MIT MIT", "MIT OR", "AND MIT", "GPL-3.0-only"] {
            assert!(!is_welcome(nonsense), "{nonsense:?}");
        }
    }
}
