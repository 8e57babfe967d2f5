//! Documents that stay true: links lead somewhere, rooms and libraries are named.

use crate::house::{self, ROOMS};
use crate::source;
use crate::workspace::{Package, Workspace};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The page that says why each library was chosen.
const DEPENDENCIES: &str = "docs/design/dependencies.md";

/// What the documents leave out or get wrong, one sentence each.
pub(crate) fn violations(workspace: &Workspace) -> Vec<String> {
    let root = &workspace.root;
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let mut found = missing_rooms(&read("ARCHITECTURE.md"), &workspace.members);
    found.extend(libraries(&read(DEPENDENCIES), &workspace.members));
    for file in source::files(root, &["md"]) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        found.extend(
            inner_links(&text)
                .filter(|link| !leads_somewhere(&file, link))
                .map(|link| format!("{name}: the link {link} leads nowhere")),
        );
    }
    found
}

/// Rooms that the architecture does not mention, and rooms it would be mentioning in vain.
fn missing_rooms(architecture: &str, members: &BTreeMap<String, Package>) -> Vec<String> {
    ROOMS
        .iter()
        .filter(|room| members.contains_key(room.name))
        .filter(|room| !architecture.contains(&format!("`{}`", room.directory)))
        .map(|room| format!("ARCHITECTURE.md: does not mention `{}`", room.directory))
        .collect()
}

/// Each library we use has a line `| `name` | rooms | why |`, and each line's library is used.
fn libraries(page: &str, members: &BTreeMap<String, Package>) -> Vec<String> {
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split('|').next().unwrap_or_default().split('`'))
        .filter(|name| !name.trim().is_empty() && !name.contains(','))
        .collect();
    let used: BTreeMap<&str, &str> = members
        .values()
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        .filter(|(_, dependency)| dependency.path.is_none() && house::room_of(&dependency.name).is_none())
        .map(|(package, dependency)| (dependency.name.as_str(), package.name.as_str()))
        .collect();
    let unlisted = used
        .iter()
        .filter(|(library, _)| !listed.contains(**library))
        .map(|(library, room)| format!("{DEPENDENCIES}: does not say why {room} uses {library}"));
    let unused = listed
        .iter()
        .filter(|library| !used.contains_key(**library))
        .map(|library| format!("{DEPENDENCIES}: lists {library}, which nobody uses"));
    unlisted.chain(unused).collect()
}

/// Targets of the inline links of a Markdown text that point into this repository.
fn inner_links(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines()
        .filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()))
        .filter(|target| {
            !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:")
        })
}

fn leads_somewhere(file: &Path, link: &str) -> bool {
    let target = link.split('#').next().unwrap_or(link);
    file.parent().is_some_and(|directory| directory.join(target).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn house_with(room: &str, library: &str) -> BTreeMap<String, Package> {
        let dependency = Dependency { name: library.to_owned(), kind: None, path: None };
        let package = Package { name: room.to_owned(), dependencies: vec![dependency], ..Package::default() };
        BTreeMap::from([(room.to_owned(), package)])
    }

    #[test]
    fn a_library_without_a_line_is_missed() {
        let found = libraries("| `bitflags` | wire | flags |\n", &house_with("wire", "arrayvec"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("does not say why wire uses arrayvec"), "{found:?}");
        assert!(found[1].contains("lists bitflags"), "{found:?}");
    }

    #[test]
    fn one_line_may_list_several_libraries() {
        let page = "| library | rooms | why |\n|---|---|---|\n| `arrayvec`, `bitflags` | wire | small |\n";
        assert_eq!(
            libraries(page, &house_with("wire", "arrayvec")),
            ["docs/design/dependencies.md: lists bitflags, which nobody uses"]
        );
    }

    #[test]
    fn a_room_the_architecture_forgets_is_missed() {
        let house = house_with("wire", "arrayvec");
        assert_eq!(missing_rooms("`proto/wire` is …", &house), Vec::<String>::new());
        assert_eq!(missing_rooms("proto/wire without ticks", &house).len(), 1);
    }

    #[test]
    fn only_links_into_the_repository_are_followed() {
        let text = "[a](docs/a.md#x) [b](https://example.org) [c](#here)\n```\n[d](nowhere)\n```\n";
        assert_eq!(inner_links(text).collect::<Vec<_>>(), ["docs/a.md#x"]);
    }

    #[test]
    fn a_link_is_followed_from_the_file_it_stands_in() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(leads_somewhere(&here, "src/main.rs#section"));
        assert!(!leads_somewhere(&here, "src/nothing.rs"));
    }
}
