//! The name that somebody may have meant.

/// The candidate that differs in the fewest letters, if that is at most a third of the word.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3);
    let scored = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    scored
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, delete or replace to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (above, candidate) in row.iter_mut().skip(1).zip(&other) {
            let replaced = diagonal + usize::from(letter != *candidate);
            let cost = replaced.min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn letters_are_counted() {
        for (one, other, expected) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("loop", "loop", 0)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let names = ["flexvol/loop", "flexvol/memory", "example.com/nfs"];
        assert_eq!(nearest("flexvol/lopp", names), Some("flexvol/loop"));
        assert_eq!(nearest("flexvol/memroy", names), Some("flexvol/memory"));
        assert_eq!(nearest("acme/blockstore", names), None);
    }
}
