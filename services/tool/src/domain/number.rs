//! Exact arithmetic on fractions: `0.1 + 0.2` is 0.3, `1 / 3 * 3` is 1.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Value, json};

const MAX_LENGTH: usize = 1_000;
const MAX_DEPTH: usize = 64;
const MAX_EXPONENT: i128 = 256;
const TOO_LARGE: &str = "a number grows beyond 38 digits";

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fraction {
    over: i128,
    under: i128,
}

/// The value of an expression: the nearest JSON number, and the exact value as text (a decimal number where it ends, else a fraction).
pub(crate) fn calculate(expression: &str) -> Result<Value, String> {
    if expression.len() > MAX_LENGTH {
        return Err(format!(
            "the expression has {} characters, but must have at most {MAX_LENGTH}",
            expression.len()
        ));
    }
    let mut parser = Parser { rest: expression.chars().peekable(), depth: 0 };
    let value = parser.sum().and_then(|value| match parser.peek() {
        None => Ok(value),
        Some(other) => Err(format!("unexpected {other:?}")),
    });
    let value = value.map_err(|problem| {
        format!("{expression:?}: {problem}; known are + - * / % ^ ( ) and abs, min, max, round, floor, ceil")
    })?;
    Ok(json!({ "expression": expression, "value": value.number(), "exact": value.exact() }))
}

impl Fraction {
    const fn whole(over: i128) -> Self {
        Self { over, under: 1 }
    }

    fn new(over: i128, under: i128) -> Result<Self, String> {
        if under == 0 {
            return Err("division by zero".to_owned());
        }
        let divisor = gcd(over.unsigned_abs(), under.unsigned_abs());
        let divisor = i128::try_from(divisor).map_err(|_too_large| TOO_LARGE.to_owned())?.max(1);
        let sign = under.signum();
        match ((over / divisor).checked_mul(sign), (under / divisor).checked_mul(sign)) {
            (Some(over), Some(under)) => Ok(Self { over, under }),
            _ => Err(TOO_LARGE.to_owned()),
        }
    }

    fn add(self, other: Self) -> Result<Self, String> {
        let over = self
            .over
            .checked_mul(other.under)
            .zip(other.over.checked_mul(self.under))
            .and_then(|(a, b)| a.checked_add(b));
        Self::checked(over, self.under.checked_mul(other.under))
    }

    fn multiply(self, other: Self) -> Result<Self, String> {
        // Cancel crosswise first, so that what fits in the end does not overflow on the way.
        let (a, b) = (Self::new(self.over, other.under)?, Self::new(other.over, self.under)?);
        Self::checked(a.over.checked_mul(b.over), a.under.checked_mul(b.under))
    }

    fn checked(over: Option<i128>, under: Option<i128>) -> Result<Self, String> {
        match (over, under) {
            (Some(over), Some(under)) => Self::new(over, under),
            _ => Err(TOO_LARGE.to_owned()),
        }
    }

    fn negative(self) -> Result<Self, String> {
        Self::checked(self.over.checked_neg(), Some(self.under))
    }

    fn divide(self, other: Self) -> Result<Self, String> {
        self.multiply(Self::new(other.under, other.over)?)
    }

    const fn floor(self) -> i128 {
        self.over.div_euclid(self.under)
    }

    /// The remainder with the divisor's sign.
    fn modulo(self, other: Self) -> Result<Self, String> {
        let quotient = Self::whole(self.divide(other)?.floor());
        self.add(quotient.multiply(other)?.negative()?)
    }

    fn power(self, exponent: Self) -> Result<Self, String> {
        if exponent.under != 1 || exponent.over.abs() > MAX_EXPONENT {
            return Err(format!(
                "the exponent {} must be a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}",
                exponent.exact()
            ));
        }
        let base = if exponent.over < 0 { Self::whole(1).divide(self)? } else { self };
        (0..exponent.over.abs()).try_fold(Self::whole(1), |power, _| power.multiply(base))
    }

    /// Rounded to so many decimals, halves away from zero.
    fn round(self, decimals: Self) -> Result<Self, String> {
        if decimals.under != 1 || !(0..=30).contains(&decimals.over) {
            return Err(format!("round takes 0 to 30 decimals, not {}", decimals.exact()));
        }
        let scale = Self::whole(10).power(decimals)?;
        let half = Self::new(1, 2)?;
        let size = Self::checked(self.over.checked_abs(), Some(self.under))?;
        let rounded = Self::whole(size.multiply(scale)?.add(half)?.floor());
        let rounded = if self.over < 0 { rounded.negative()? } else { rounded };
        rounded.divide(scale)
    }

    fn less(self, other: Self) -> Result<bool, String> {
        Ok(self.add(other.negative()?)?.over < 0)
    }

    fn number(self) -> Value {
        match i64::try_from(self.over) {
            Ok(whole) if self.under == 1 => json!(whole),
            _ => self.exact_decimal().and_then(|text| text.parse::<f64>().ok()).map_or_else(
                || json!(self.over as f64 / self.under as f64),
                |nearest| json!(nearest),
            ),
        }
    }

    fn exact(self) -> String {
        self.exact_decimal().unwrap_or_else(|| format!("{}/{}", self.over, self.under))
    }

    fn exact_decimal(self) -> Option<String> {
        let sign = if self.over < 0 { "-" } else { "" };
        let (over, under) = (self.over.unsigned_abs(), self.under.unsigned_abs());
        let mut text = format!("{sign}{}", over / under);
        let mut rest = over % under;
        if rest > 0 {
            text.push('.');
        }
        for _ in 0..30 {
            if rest == 0 {
                return Some(text);
            }
            rest = rest.checked_mul(10)?;
            text.push(char::from_digit(u32::try_from(rest / under).ok()?, 10)?);
            rest %= under;
        }
        (rest == 0).then_some(text)
    }
}

const fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        self.rest.peek().copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.rest.next().is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) {
            return Ok(());
        }
        match self.peek() {
            Some(other) => Err(format!("expected {wanted:?} in place of {other:?}")),
            None => Err(format!("expected {wanted:?} at the end")),
        }
    }

    fn sum(&mut self) -> Result<Fraction, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let mut sum = self.product()?;
        loop {
            if self.take('+') {
                sum = sum.add(self.product()?)?;
            } else if self.take('-') {
                sum = sum.add(self.product()?.negative()?)?;
            } else {
                self.depth -= 1;
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<Fraction, String> {
        let mut product = self.signed()?;
        loop {
            product = match self.peek() {
                Some('*' | '×') => {
                    self.rest.next();
                    product.multiply(self.signed()?)?
                }
                Some('/' | '÷') => {
                    self.rest.next();
                    product.divide(self.signed()?)?
                }
                Some('%') => {
                    self.rest.next();
                    product.modulo(self.signed()?)?
                }
                _ => return Ok(product),
            };
        }
    }

    /// A power with its signs. `-2 ^ 2` is -4, as in mathematics.
    fn signed(&mut self) -> Result<Fraction, String> {
        let mut negative = false;
        while let Some(sign @ ('+' | '-' | '−')) = self.peek() {
            self.rest.next();
            negative ^= sign != '+';
        }
        let base = self.atom()?;
        let value = if self.take('^') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(format!("nested deeper than {MAX_DEPTH}"));
            }
            let exponent = self.signed()?;
            self.depth -= 1;
            base.power(exponent)?
        } else {
            base
        };
        if negative { value.negative() } else { Ok(value) }
    }

    fn atom(&mut self) -> Result<Fraction, String> {
        match self.peek() {
            Some('(') => {
                self.rest.next();
                let value = self.sum()?;
                self.expect(')')?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.literal(),
            Some(c) if c.is_alphabetic() => self.function(),
            Some(other) => Err(format!("unexpected {other:?}")),
            None => Err("the expression ends where a number is missing".to_owned()),
        }
    }

    fn literal(&mut self) -> Result<Fraction, String> {
        let (mut digits, mut decimals, mut point, mut any) = (0_i128, 0_u32, false, false);
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || matches!(c, '.' | '_')) {
            match c.to_digit(10) {
                Some(digit) => {
                    any = true;
                    digits = digits
                        .checked_mul(10)
                        .and_then(|digits| digits.checked_add(i128::from(digit)))
                        .ok_or(TOO_LARGE)?;
                    decimals += u32::from(point);
                }
                None if c == '_' => {}
                None if point => return Err("a number with two points".to_owned()),
                None => point = true,
            }
        }
        if !any {
            return Err("a point without digits".to_owned());
        }
        Fraction::checked(Some(digits), 10_i128.checked_pow(decimals))
    }

    fn function(&mut self) -> Result<Fraction, String> {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        self.expect('(')?;
        let mut arguments = vec![self.sum()?];
        while self.take(',') {
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        match (name.as_str(), arguments.as_slice()) {
            ("abs", [x]) => Fraction::checked(x.over.checked_abs(), Some(x.under)),
            ("floor", [x]) => Ok(Fraction::whole(x.floor())),
            ("ceil", [x]) => Fraction::whole(x.negative()?.floor()).negative(),
            ("round", [x]) => x.round(Fraction::whole(0)),
            ("round", [x, decimals]) => x.round(*decimals),
            ("min", [first, others @ ..]) => others
                .iter()
                .try_fold(*first, |least, x| Ok(if x.less(least)? { *x } else { least })),
            ("max", [first, others @ ..]) => {
                others.iter().try_fold(*first, |most, x| Ok(if most.less(*x)? { *x } else { most }))
            }
            _ => Err(format!("no function {name} of {} numbers", arguments.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact() {
        for (expression, value, exact) in [
            ("0.1 + 0.2", json!(0.3), "0.3"),
            ("1 / 3 * 3", json!(1), "1"),
            ("2 / 3", json!(2.0 / 3.0), "2/3"),
            ("-2 ^ 2 + 10 % 4", json!(-2), "-2"),
            ("2 ^ -2", json!(0.25), "0.25"),
            ("2 ^ 3 ^ 2", json!(512), "512"),
            ("9007199254740993 * 1", json!(9_007_199_254_740_993_i64), "9007199254740993"),
            ("round(2.345, 2) + max(1, 3, 2) - ceil(0.2)", json!(4.35), "4.35"),
            ("round(-2.5)", json!(-3), "-3"),
            (" -(1_000 - .5) ", json!(-999.5), "-999.5"),
            ("-7 % 3", json!(2), "2"),
        ] {
            let result = calculate(expression).unwrap();
            assert_eq!(
                (&result["value"], result["exact"].as_str()),
                (&value, Some(exact)),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_cannot_be_computed_is_told() {
        let deep = "(".repeat(500);
        for (expression, part) in [
            ("1 / (2 - 2)", "division by zero"),
            ("2 ^ 0.5", "the exponent 0.5"),
            ("2 ^ 256", "beyond 38 digits"),
            ("1 +", "a number is missing"),
            ("1 2", "unexpected '2'"),
            ("sqrt(2)", "no function sqrt"),
            ("1.2.3", "two points"),
            ("(1", "expected ')' at the end"),
            (deep.as_str(), "nested deeper"),
            ("", "a number is missing"),
        ] {
            let problem = calculate(expression).unwrap_err();
            assert!(problem.contains(part), "{expression}: {problem}");
        }
        assert!(calculate(&"1+".repeat(501)).is_err());
        assert!(calculate(&format!("1{}", "^1".repeat(300))).is_err());
        assert!(calculate(&"-".repeat(999)).is_err());
    }
}
