//! What is asked for: a file of questions, or names made up.

use super::message::Question;

/// Questions from a file, one a line: a name and a type (A when there is none); empty lines and those that begin with
/// `#` or `;` are passed over.
///
/// # Errors
/// The first line that is no question.
pub fn from_list(text: &str) -> Result<Vec<Question>, String> {
    let is_one = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    text.lines()
        .map(str::trim)
        .filter(is_one)
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or(".");
            Question::parse(name, words.next().unwrap_or("A"))
        })
        .collect()
}

/// `n0.ZONE` to `nN.ZONE`, type A.
///
/// # Errors
/// The zone is no name.
pub fn made_up(zone: &str, count: u32) -> Result<Vec<Question>, String> {
    let zone = zone.trim_matches('.');
    (0..count).map(|number| Question::parse(&format!("n{number}.{zone}"), "A")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_question_a_line() {
        let list = from_list("# names\nwww.example.com AAAA\n\nexample.com\n; done\n").unwrap();
        assert_eq!(list[0], Question::parse("www.example.com", "AAAA").unwrap());
        assert_eq!((list.len(), &list[1]), (2, &Question::parse("example.com.", "A").unwrap()));
        assert!(from_list("www.example.com NOTHING").is_err());
    }

    #[test]
    fn names_are_made_up_in_a_zone() {
        let made = made_up("example.com.", 3).unwrap();
        assert_eq!((made.len(), &made[2]), (3, &Question::parse("n2.example.com", "A").unwrap()));
    }
}
