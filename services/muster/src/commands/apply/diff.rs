//! The lines in which two texts differ.

/// Lines around a change that are shown too.
const AROUND: usize = 2;
/// Texts with more lines in their differing middle are shown as replaced.
const MOST: usize = 2_000;

/// A line of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
    /// Lines that are the same in both are left out.
    Gap,
}

impl Line<'_> {
    pub(super) fn text(self) -> String {
        match self {
            Self::Same(line) => format!("  {line}"),
            Self::Gone(line) => format!("- {line}"),
            Self::New(line) => format!("+ {line}"),
            Self::Gap => "  …".to_owned(),
        }
    }
}

/// What was changed, with a little around it.
pub(super) fn changed<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let all = compared(&old, &new);
    let near = |place: usize| {
        let from = place.saturating_sub(AROUND);
        all.iter()
            .skip(from)
            .take(place - from + AROUND + 1)
            .any(|line| !matches!(line, Line::Same(_)))
    };
    let mut shown = Vec::new();
    for (place, line) in all.iter().enumerate() {
        if near(place) {
            shown.push(*line);
        } else if shown.last() != Some(&Line::Gap) {
            shown.push(Line::Gap);
        }
    }
    shown
}

fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let same = |(left, right): &(&&str, &&str)| left == right;
    let head = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) =
        (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let (old_middle, old_tail) = old_rest.split_at(old_rest.len() - tail);
    let (new_middle, _) = new_rest.split_at(new_rest.len() - tail);
    let mut lines: Vec<Line<'a>> = old.iter().take(head).map(|line| Line::Same(line)).collect();
    lines.extend(middle(old_middle, new_middle));
    lines.extend(old_tail.iter().map(|line| Line::Same(line)));
    lines
}

/// By the longest common subsequence.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len() > MOST || new.len() > MOST {
        let gone = old.iter().map(|line| Line::Gone(line));
        return gone.chain(new.iter().map(|line| Line::New(line))).collect();
    }
    let width = new.len() + 1;
    // lengths[row * width + column]: of what the rests of both from there have in common.
    let mut lengths = vec![0usize; (old.len() + 1) * width];
    let at = |lengths: &[usize], row: usize, column: usize| {
        lengths.get(row * width + column).copied().unwrap_or_default()
    };
    for (row, left) in old.iter().enumerate().rev() {
        for (column, right) in new.iter().enumerate().rev() {
            let length = if left == right {
                at(&lengths, row + 1, column + 1) + 1
            } else {
                at(&lengths, row + 1, column).max(at(&lengths, row, column + 1))
            };
            if let Some(cell) = lengths.get_mut(row * width + column) {
                *cell = length;
            }
        }
    }
    let (mut lines, mut row, mut column) = (Vec::new(), 0, 0);
    loop {
        match (old.get(row), new.get(column)) {
            (Some(left), Some(right)) if left == right => {
                lines.push(Line::Same(left));
                (row, column) = (row + 1, column + 1);
            }
            (Some(left), right)
                if right.is_none()
                    || at(&lengths, row + 1, column) >= at(&lengths, row, column + 1) =>
            {
                lines.push(Line::Gone(left));
                row += 1;
            }
            (_, Some(right)) => {
                lines.push(Line::New(right));
                column += 1;
            }
            (_, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &[&str]) {
        let lines: Vec<String> = changed(before, after).into_iter().map(Line::text).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn only_what_changed_is_shown_with_a_little_around_it() {
        check("a\nb\nc", "a\nb\nc", &["  …"]);
        check("a\nb\nc", "a\nx\nc", &["  a", "- b", "+ x", "  c"]);
        check("", "a", &["+ a"]);
        check("a", "", &["- a"]);
        check(
            "1\n2\n3\n4\n5\n6\n7\n8",
            "1\n2\n3\n4\nnew\n5\n6\n7\n8",
            &["  …", "  3", "  4", "+ new", "  5", "  6", "  …"],
        );
        check("a\nb\nc\nd", "b\nc\nd\ne", &["- a", "  b", "  c", "  d", "+ e"]);
    }
}
