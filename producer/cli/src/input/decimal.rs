//! Decimal numbers, exact, so that ten steps of 0.1 make 1.

/// More digits than any number of 64 bits has; three of them still fit into 128 bits at one scale.
const DIGITS_MAX: usize = 25;
const EXPONENT_MAX: i32 = 400;

/// `mantissa` / 10^`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    pub mantissa: i128,
    pub scale: u32,
}

impl Decimal {
    /// Reads `-12.5e3` and the like; none if it is no such number, or has too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = format!("{whole}{fraction}");
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || digits.len() > DIGITS_MAX || exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let magnitude: i128 = digits.parse().ok()?;
        let mantissa = if number.starts_with('-') { -magnitude } else { magnitude };
        let scale = i32::try_from(fraction.len()).ok()? - exponent;
        match u32::try_from(scale) {
            Ok(scale) => Some(Self { mantissa, scale }),
            Err(_) => Some(Self { mantissa: mantissa.checked_mul(power(scale.unsigned_abs())?)?, scale: 0 }),
        }
    }

    /// The same number with more places after its point.
    pub fn at_scale(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(power(scale.checked_sub(self.scale)?)?)
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        // Reading is what rounds correctly.
        format!("{}e-{}", self.mantissa, self.scale).parse().unwrap_or(f64::NAN)
    }
}

fn power(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let of = |mantissa, scale| Some(Decimal { mantissa, scale });
        for (text, number) in [
            ("0.1", of(1, 1)),
            ("-12.50", of(-1250, 2)),
            ("+3", of(3, 0)),
            ("1e-3", of(1, 3)),
            ("2.5E2", of(250, 0)),
            (".5", of(5, 1)),
            ("5.", of(5, 0)),
        ] {
            assert_eq!(Decimal::parse(text), number, "{text}");
        }
        for text in ["", ".", "-", "NaN", "inf", "1e", "1_0", "--1", "0x1", "1e9999", "٣", "1 ", &"9".repeat(40)] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal { mantissa: 3, scale: 1 }.to_f64(), 0.3);
    }
}
