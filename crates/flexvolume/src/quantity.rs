//! Sizes, written as Kubernetes quantities.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A number of bytes, at most 2^63 - 1 (the most that Kubernetes and the kernel's file offsets can express).
///
/// It is read from a Kubernetes quantity, exactly as Kubernetes v1.37 `apimachinery/pkg/api/resource` reads one:
/// a decimal number, then nothing, a decimal suffix (`n u m k M G T P E`), a binary suffix (`Ki Mi Gi Ti Pi Ei`) or
/// an exponent (`e3`, `E-2`); a fraction of a byte is rounded up. It is stricter in two points: a unit without a number
/// is an error and not zero, and too large a number is an error and neither cut nor wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

/// Why a text is not a number of bytes. Never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BytesError {
    /// There is no number at the beginning.
    #[error("is not a quantity; write a number and a unit without a space, such as 64Mi, 1.5Gi or 10G")]
    NotANumber,
    /// What follows the number is no unit.
    #[error("has an unknown unit; Ki, Mi, Gi, Ti are powers of 1024, k, M, G, T are powers of 1000")]
    UnknownUnit,
    /// What follows the number is a unit elsewhere; holds the one that was meant, probably.
    #[error(
        "has an unknown unit, where probably {0} was meant; \
         Ki, Mi, Gi, Ti are powers of 1024, k, M, G, T are powers of 1000"
    )]
    MisspelledUnit(&'static str),
    /// A minus sign.
    #[error("is negative")]
    Negative,
    /// More than 2^63 - 1 bytes.
    #[error("is more than 9223372036854775807 bytes")]
    TooLarge,
    /// A size in thousandths (or less) of a byte: `m` where `M` or `Mi` was meant.
    #[error(
        "is in {0} of a byte: in Kubernetes `10m` is one hundredth of a byte; \
         for mebibytes write 10Mi, for megabytes 10M"
    )]
    SubByte(&'static str),
    /// A volume without size.
    #[error("is zero")]
    Zero,
}

/// What the number is multiplied with.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i64),
    /// A power of two, at most 60.
    Two(u32),
}

const LARGEST: u64 = i64::MAX.unsigned_abs();
const DECIMAL: [(&str, u64); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
];
const BINARY: [(&str, u64); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

impl Bytes {
    /// `count` bytes.
    ///
    /// # Errors
    /// [`BytesError::TooLarge`] above 2^63 - 1.
    pub fn new(count: u64) -> Result<Self, BytesError> {
        if count > LARGEST { Err(BytesError::TooLarge) } else { Ok(Self(count)) }
    }

    /// Reads any Kubernetes quantity; `500m` is half a byte and so one byte.
    ///
    /// # Errors
    /// [`BytesError`].
    pub fn parse(text: &str) -> Result<Self, BytesError> {
        let (negative, text) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(BytesError::NotANumber);
        }
        let count = match scale(suffix)? {
            Scale::Ten(exponent) => times_power_of_ten(whole, fraction, exponent),
            Scale::Two(exponent) => times_power_of_two(whole, fraction, exponent),
        };
        match count {
            Some(0) => Ok(Self(0)),
            _ if negative => Err(BytesError::Negative),
            Some(count) => Self::new(count),
            None => Err(BytesError::TooLarge),
        }
    }

    /// Reads the size of a volume: a quantity that is not zero and not written in fractions of a byte, because
    /// `10m` is a slip for `10M` or `10Mi` and not a wish for one byte.
    ///
    /// # Errors
    /// [`BytesError`].
    pub fn parse_size(text: &str) -> Result<Self, BytesError> {
        let size = Self::parse(text)?;
        match text.as_bytes().last() {
            Some(b'm') => Err(BytesError::SubByte("thousandths")),
            Some(b'u') => Err(BytesError::SubByte("millionths")),
            Some(b'n') => Err(BytesError::SubByte("thousand-millionths")),
            _ if size.0 == 0 => Err(BytesError::Zero),
            _ => Ok(size),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

fn scale(suffix: &str) -> Result<Scale, BytesError> {
    Ok(match suffix {
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "" => Scale::Ten(0),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        _ => return exponent(suffix).map(Scale::Ten).ok_or_else(|| wrong_unit(suffix)),
    })
}

/// `e3`, `E+3`, `e-3`.
fn exponent(suffix: &str) -> Option<i64> {
    let number = suffix.strip_prefix(['e', 'E'])?;
    let number = number.strip_prefix('+').filter(|rest| !rest.starts_with(['+', '-'])).unwrap_or(number);
    number.parse().ok()
}

fn wrong_unit(suffix: &str) -> BytesError {
    BytesError::MisspelledUnit(match suffix.trim_start().to_ascii_lowercase().as_str() {
        "k" | "ki" | "kib" | "kb" => "Ki",
        "mi" | "mib" | "mb" => "Mi",
        "g" | "gi" | "gib" | "gb" => "Gi",
        "t" | "ti" | "tib" | "tb" => "Ti",
        _ => return BytesError::UnknownUnit,
    })
}

/// The number times 10^`exponent`, rounded up; `None` on overflow.
fn times_power_of_ten(whole: &str, fraction: &str, exponent: i64) -> Option<u64> {
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0');
    if digits().all(|digit| digit == 0) {
        return Some(0);
    }
    // So many of the digits stand before the point once it has been moved.
    let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    let before = usize::try_from(point.max(0)).ok()?;
    let mut count: u64 = 0;
    for digit in digits().take(before) {
        count = count.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    for _ in whole.len() + fraction.len()..before {
        count = count.checked_mul(10)?;
    }
    let rounds_up = digits().skip(before).any(|digit| digit != 0);
    count.checked_add(u64::from(rounds_up))
}

/// The number times 2^`exponent`, rounded up; `None` on overflow.
fn times_power_of_two(whole: &str, fraction: &str, exponent: u32) -> Option<u64> {
    let factor: u128 = 1 << exponent;
    let mut count: u64 = 0;
    for digit in whole.bytes() {
        count = count.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    // The fraction times the factor by hand, digit by digit from the right: the carry that is left is the whole part,
    // and any digit that is not zero is a rest.
    let (mut carry, mut rest) = (0_u128, false);
    for digit in fraction.bytes().rev() {
        carry += u128::from(digit - b'0') * factor;
        rest |= carry % 10 != 0;
        carry /= 10;
    }
    let total = u128::from(count).checked_mul(factor)? + carry + u128::from(rest);
    u64::try_from(total).ok()
}

impl FromStr for Bytes {
    type Err = BytesError;
    fn from_str(text: &str) -> Result<Self, BytesError> {
        Self::parse(text)
    }
}

impl From<Bytes> for u64 {
    fn from(bytes: Bytes) -> u64 {
        bytes.0
    }
}

/// The shortest exact quantity: `64Mi`, `1536Mi`, `10M`, `1001`. It reads back as the same number.
impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = BINARY.iter().chain(&DECIMAL);
        match units.into_iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(out, "{}{suffix}", self.0 / unit),
            None => write!(out, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
