//! Kubernetes quantities such as `10Gi`, in whole bytes.
//!
//! The grammar is that of the API's `resource.Quantity`: a decimal number and one suffix, either a power of 1024 (`Ki` to
//! `Ei`), a power of 1000 (`n` `u` `m` none `k` `M` `G` `T` `P` `E`) or an exponent (`e3`). Parts of a byte round up.

/// The bytes of a quantity.
///
/// # Errors
/// What is wrong with it.
pub(super) fn bytes(text: &str) -> Result<u64, &'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (mantissa, fraction_digits) = mantissa(number)?;
    let (factor, exponent) = scale(suffix)?;
    let scaled = mantissa.checked_mul(factor).ok_or("it is too large")?;
    let exponent = exponent - fraction_digits;
    let power = 10u128.checked_pow(exponent.unsigned_abs());
    let whole = match (exponent < 0, power) {
        (true, Some(power)) => scaled.div_ceil(power),
        (true, None) => u128::from(scaled > 0),
        (false, Some(power)) => scaled.checked_mul(power).ok_or("it is too large")?,
        (false, None) if scaled == 0 => 0,
        (false, None) => return Err("it is too large"),
    };
    u64::try_from(whole).map_err(|_| "it is too large")
}

/// The digits as one number, and how many of them stand after the point.
fn mantissa(number: &str) -> Result<(u128, i32), &'static str> {
    let number = number.strip_prefix('+').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() {
        return Err("it does not begin with a number (a size is never negative)");
    }
    let value = digits.parse().map_err(|_| "its number cannot be read")?;
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| "its number cannot be read")?;
    Ok((value, fraction_digits))
}

/// The suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Result<(u128, i32), &'static str> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 10] = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    if let Some(power) = (1u32..).zip(BINARY).find(|(_, known)| *known == suffix).map(|(power, _)| power) {
        return Ok((1024u128.pow(power), 0));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Ok((1, *exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse::<i16>().ok());
    exponent
        .map(|exponent| (1, i32::from(exponent)))
        .ok_or("its suffix is not one of Ki Mi Gi Ti Pi Ei k M G T P E")
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_whole_bytes_rounded_up() {
        let cases = [
            ("0", 0),
            ("1", 1),
            ("64Mi", 64 << 20),
            ("10Gi", 10 << 30),
            ("1.5Ki", 1536),
            (".5Gi", 1 << 29),
            ("1k", 1000),
            ("1e3", 1000),
            ("12E6", 12_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("500m", 1),
            ("1500m", 2),
            ("1n", 1),
            ("+1Gi", 1 << 30),
            ("1e-400", 1),
            ("0e400", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for text in ["", "Gi", "-1", "1GB", "1gi", "1 Gi", "1KiB", "1..2", "16Ei", "1e400", "1e", "x"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
