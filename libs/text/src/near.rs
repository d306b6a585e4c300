//! Names that are nearly alike: what somebody may have meant.

/// How many letters of a name may be wrong, at most.
const MOST: usize = 3;
/// Of so many letters one may be wrong: two in four, as where two of them changed places.
const LETTERS: usize = 2;

/// The one of `names` that `name` is most likely a slip of: as few letters as possible put in, left out or replaced, one in two and
/// three at most. Nothing where none is near.
///
/// ```
/// assert_eq!(muster_text::nearest("sumary", ["summary", "nap"]), Some("summary"));
/// assert_eq!(muster_text::nearest("review", ["summary", "nap"]), None);
/// ```
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = MOST.min(name.len() / LETTERS).max(1);
    let near = names.into_iter().map(|other| (distance(name, other), other));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, other)| other)
}

/// How many letters have to be put in, left out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, left) in a.bytes().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        for (a, b, letters) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "ac", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), letters, "{a} {b}");
        }
    }

    #[test]
    fn a_short_name_has_fewer_letters_wrong_than_a_long_one() {
        assert_eq!(nearest("fsat", ["fast", "slow"]), Some("fast"));
        assert_eq!(nearest("cat", ["dog"]), None);
        assert_eq!(nearest("fas", ["fast", "slow"]), Some("fast"));
        assert_eq!(nearest("MUSTER_HTTP_ALOW", ["MUSTER_HTTP_ALLOW"]), Some("MUSTER_HTTP_ALLOW"));
        assert_eq!(nearest("x", []), None);
    }
}
