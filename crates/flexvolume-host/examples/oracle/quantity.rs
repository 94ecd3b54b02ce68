//! Kubernetes' quantities: numbers with a suffix, and their canonical spelling.

use std::fmt;

/// A quantity, in billionths; finer ones are rounded up, and what an `i64` cannot hold is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    billionths: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

const BILLION: i128 = 1_000_000_000;
const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no quantity, such as 10Gi or 500M");
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (factor, divisor, format) = scale(suffix).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let value: i128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
        let unit =
            10_i128.checked_pow(places).and_then(|unit| unit.checked_mul(divisor)).ok_or_else(wrong)?;
        let scaled =
            value.checked_mul(factor).and_then(|value| value.checked_mul(BILLION)).ok_or_else(wrong)?;
        let billionths = ceiling(scaled, unit).min(i128::from(i64::MAX) * BILLION);
        Ok(Self { billionths, format })
    }

    /// Whole bytes, rounded up.
    pub(crate) fn bytes(self) -> u64 {
        u64::try_from(ceiling(self.billionths, BILLION)).unwrap_or(u64::MAX)
    }
}

fn ceiling(value: i128, unit: i128) -> i128 {
    (value + unit - 1) / unit
}

/// Factor, divisor and family of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128, Format)> {
    let power =
        |base: i128, index: usize| u32::try_from(index).ok().and_then(|index| base.checked_pow(index));
    if let Some(index) = DECIMAL.iter().position(|known| *known == suffix) {
        return Some((power(1000, index)?, 1, Format::Decimal));
    }
    if let Some(index) = BINARY.iter().position(|known| *known == suffix) {
        return Some((power(1024, index)?, 1, Format::Binary));
    }
    match suffix {
        "m" => Some((1, 1000, Format::Decimal)),
        "u" => Some((1, 1_000_000, Format::Decimal)),
        "n" => Some((1, 1_000_000_000, Format::Decimal)),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            let (factor, divisor) = if exponent < 0 { (1, power) } else { (power, 1) };
            Some((factor, divisor, Format::Exponent))
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = ceiling(self.billionths, BILLION);
        // Below 1024 the binary spelling would round.
        if self.format == Format::Binary && whole >= 1024 {
            let (number, steps) = reduce(whole, 1024, BINARY.len() - 1);
            return write!(out, "{number}{}", BINARY[steps]);
        }
        for (unit, suffix) in [(1000, "n"), (1_000_000, "u"), (BILLION, "m")] {
            if self.billionths % unit != 0 {
                return write!(out, "{}{suffix}", self.billionths / (unit / 1000));
            }
        }
        let (number, steps) = reduce(whole, 1000, DECIMAL.len() - 1);
        match (self.format, steps) {
            (Format::Exponent, 0) => write!(out, "{number}"),
            (Format::Exponent, steps) => write!(out, "{number}e{}", 3 * steps),
            (_, steps) => write!(out, "{number}{}", DECIMAL[steps]),
        }
    }
}

fn reduce(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut steps = 0;
    while number != 0 && number % base == 0 && steps < most {
        number /= base;
        steps += 1;
    }
    (number, steps)
}
