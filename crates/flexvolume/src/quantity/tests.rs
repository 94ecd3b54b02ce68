use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<u64, BytesError> {
    Bytes::parse(text).map(Bytes::get)
}

#[test]
fn quantities_of_kubernetes_are_read() {
    for (text, expected) in [
        ("0", 0),
        ("-0", 0),
        ("1", 1),
        ("+1Gi", 1 << 30),
        ("64Mi", 64 << 20),
        ("1.5Gi", 3 << 29),
        (".5Gi", 1 << 29),
        ("1.", 1),
        ("10M", 10_000_000),
        ("1e3", 1000),
        ("12E6", 12_000_000),
        ("1E", 1_000_000_000_000_000_000),
        ("1e+2", 100),
        ("15e-1", 2),
        ("500m", 1),
        ("1001m", 2),
        ("1n", 1),
        ("0.0000000000000000000000000000000000000000000000000001", 1),
        ("1000000000000000000000000000000000000000000e-40", 100),
        ("0.0000000000000000000000000000000000000000001e45", 100),
        ("0e999999999", 0),
        ("1e-999999999", 1),
        ("9223372036854775807", LARGEST),
        ("7.9999999999999999999999999999Ei", 9_223_372_036_854_775_807),
    ] {
        let read = parse(text);
        if text.starts_with("7.9") {
            // One more than the largest after rounding up.
            assert_eq!(read, Err(BytesError::TooLarge), "{text}");
        } else {
            assert_eq!(read, Ok(expected), "{text}");
        }
    }
}

#[test]
fn too_large_is_an_error_and_never_wraps() {
    for text in ["8Ei", "16Ei", "9223372036854775808", "1e19", "1e999999999999", "99999999999999999999E"] {
        assert_eq!(parse(text), Err(BytesError::TooLarge), "{text}");
    }
}

#[test]
fn what_kubernetes_refuses_is_refused() {
    for text in ["", "-", "+", ".", "Gi", " 1Gi", "--1", "1..2", "1.2.3", "e3", "\u{661}"] {
        assert_eq!(parse(text), Err(BytesError::NotANumber), "{text}");
    }
    for text in
        ["1 Gi", "1GB", "1GiB", "1gi", "1K", "1e", "1e+-3", "1eE", "1Gi ", "1e1.5", "1e99999999999999999999"]
    {
        assert!(
            matches!(parse(text), Err(BytesError::UnknownUnit | BytesError::MisspelledUnit(_))),
            "{text}"
        );
    }
    assert_eq!(parse("-1"), Err(BytesError::Negative));
    assert_eq!(parse("-9e99"), Err(BytesError::Negative));
}

#[test]
fn errors_say_what_was_meant() {
    let size = |text| Bytes::parse_size(text).unwrap_err().to_string();
    assert!(size("10m").contains("write 10Mi"), "{}", size("10m"));
    assert!(size("1GB").contains("probably Gi was meant"), "{}", size("1GB"));
    assert!(size("1xyz").ends_with("powers of 1000"), "{}", size("1xyz"));
    assert_eq!(size("0"), "is zero");
    assert_eq!(Bytes::parse_size("64Mi").map(Bytes::get), Ok(64 << 20));
}

#[test]
fn it_prints_the_shortest_exact_quantity() {
    for text in ["0", "1", "1001", "10M", "64Mi", "1536Mi", "1Ki", "7Ei", "3k"] {
        assert_eq!(Bytes::parse(text).unwrap().to_string(), text);
    }
}

/// The value as a fraction of two integers, an independent way to the same number.
fn model(mantissa: u64, decimals: u32, (numerator, denominator): (u128, u128)) -> Option<u64> {
    let value = (u128::from(mantissa) * numerator).div_ceil(10_u128.pow(decimals) * denominator);
    u64::try_from(value).ok().filter(|value| *value <= LARGEST)
}

const SUFFIXES: [(&str, (u128, u128)); 18] = [
    ("n", (1, 1_000_000_000)),
    ("u", (1, 1_000_000)),
    ("m", (1, 1000)),
    ("", (1, 1)),
    ("k", (1000, 1)),
    ("M", (1_000_000, 1)),
    ("G", (1_000_000_000, 1)),
    ("T", (1_000_000_000_000, 1)),
    ("P", (1_000_000_000_000_000, 1)),
    ("E", (1_000_000_000_000_000_000, 1)),
    ("Ki", (1 << 10, 1)),
    ("Mi", (1 << 20, 1)),
    ("Gi", (1 << 30, 1)),
    ("Ti", (1 << 40, 1)),
    ("Pi", (1 << 50, 1)),
    ("Ei", (1 << 60, 1)),
    ("e5", (100_000, 1)),
    ("E-4", (1, 10_000)),
];

proptest! {
    #[test]
    fn it_agrees_with_fractions(mantissa: u64, decimals in 0_usize..19, suffix in prop::sample::select(&SUFFIXES)) {
        let digits = format!("{mantissa:0>width$}", width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let text = format!("{whole}.{fraction}{}", suffix.0);
        let expected = model(mantissa, u32::try_from(decimals).unwrap(), suffix.1);
        prop_assert_eq!(parse(&text).ok(), expected, "{}", text);
    }

    #[test]
    fn what_it_prints_reads_back(count in 0..=LARGEST) {
        let bytes = Bytes::new(count).unwrap();
        prop_assert_eq!(Bytes::parse(&bytes.to_string()), Ok(bytes));
    }

    #[test]
    fn foreign_text_never_panics(text in "[-+.0-9eEinumkKMGTP ]{0,40}|.{0,20}") {
        let _ = Bytes::parse(&text);
    }
}
