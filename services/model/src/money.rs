//! What replies cost: exact, in billionths of a US dollar.

pub(crate) mod meter;
mod prices;
mod quote;
pub(crate) mod telemetry;

pub(crate) use self::meter::{Bill, Meter, Whose};
pub(crate) use self::prices::Prices;
pub(crate) use self::quote::{Asked, Quotes, Target};
pub(crate) use self::telemetry::{Pump, Telemetry, Told, telemetry};

/// The same in US dollars, for people and for events; sums are made of the billionths.
pub(crate) fn dollars(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// An amount as errors tell it: `$1.25`, `$0.000005`.
pub(crate) fn shown(nanos: u64) -> String {
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let fraction = format!("{rest:09}");
    let fraction = fraction.trim_end_matches('0');
    format!("${whole}.{fraction:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_people_write_them() {
        assert_eq!(shown(0), "$0.00");
        assert_eq!(shown(1_500_000_000), "$1.50");
        assert_eq!(shown(5_000), "$0.000005");
        assert_eq!(shown(12_345_678_901), "$12.345678901");
    }
}
