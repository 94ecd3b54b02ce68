//! Sizes: what was read is written and read again as the same, and is about the number that stands there.
#![no_main]

use flexvolume_host::contract::{Bytes, BytesError};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Bytes::parse(text) {
        Ok(bytes) => {
            let count = u64::from(bytes);
            assert!(i64::try_from(count).is_ok());
            assert_eq!(Bytes::parse(&bytes.to_string()), Ok(bytes), "{text:?} as {bytes}");
            about(text, count);
        }
        Err(BytesError::TooLarge) => {
            assert!(approximation(text).is_none_or(|value| value > 9.2e18), "{text:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = Bytes::parse_size(text);
});

/// The number by way of floating point, where its exponent is within reach.
fn approximation(text: &str) -> Option<f64> {
    let units =
        [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    let binary = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    if let Some((number, power)) =
        binary.iter().find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power)))
    {
        return Some(number.parse::<f64>().ok()? * 2_f64.powi(power));
    }
    match units.iter().find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power))) {
        Some((number, power)) => format!("{number}e{power}").parse().ok(),
        None => text.parse().ok(),
    }
}

fn about(text: &str, count: u64) {
    let Some(value) = approximation(text) else { return };
    #[allow(clippy::cast_precision_loss, reason = "compared up to that loss")]
    let count = count as f64;
    // Parts of a byte round up.
    assert!(
        count >= value * (1.0 - 1e-12) && count <= (value + 1.0) * (1.0 + 1e-12),
        "{text:?}: {count} {value}"
    );
}
