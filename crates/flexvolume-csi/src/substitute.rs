//! `${key}` in the parameters of a storage class.

use std::collections::BTreeMap;

/// Puts what is known in the place of each `${key}`, and `text` in the place of `${key:-text}` where `key` is not known.
/// Otherwise what is not known stays as it is, so that a driver with a syntax of its own gets it; `$${` stands for `${`.
pub(crate) fn substitute(template: &str, known: &BTreeMap<String, String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(position) = rest.find("${") {
        let (before, from) = rest.split_at(position);
        if let Some(escaped) = before.strip_suffix('$') {
            text.push_str(escaped);
            text.push_str("${");
            rest = &from[2..];
            continue;
        }
        text.push_str(before);
        let end = from.find('}');
        match end.and_then(|end| value(&from[2..end], known).map(|value| (end, value))) {
            Some((end, value)) => {
                text.push_str(value);
                rest = &from[end + 1..];
            }
            None => {
                text.push_str("${");
                rest = &from[2..];
            }
        }
    }
    text.push_str(rest);
    text
}

fn value<'a>(name: &'a str, known: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let (key, otherwise) = match name.split_once(":-") {
        Some((key, otherwise)) => (key, Some(otherwise)),
        None => (name, None),
    };
    known.get(key).map(String::as_str).or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_put_in_and_the_rest_stays() {
        let known = [("name", "pvc-1"), ("size", "1024")];
        let known = known.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for (template, text) in [
            ("/srv/${name}", "/srv/pvc-1"),
            ("${name}${size}", "pvc-11024"),
            ("${other}/${name}", "${other}/pvc-1"),
            ("$${name}", "${name}"),
            ("${name", "${name"),
            ("${${name}}", "${pvc-1}"),
            ("${size:-64Mi} ${other:-64Mi} ${other:-}.", "1024 64Mi ."),
            ("", ""),
            ("ä${name}ü", "äpvc-1ü"),
        ] {
            assert_eq!(substitute(template, &known), text, "{template}");
        }
    }
}
