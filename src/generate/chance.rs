//! Chance that is a pure function of numbers: the same on every machine, and at any place without the places before it.

/// The golden ratio as a 64-bit fraction: steps of it visit all numbers evenly.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles a number (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What draws belong to: things of different kinds draw apart though their numbers are the same.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Shape,
    Market,
    Wallet,
    Tx,
    Order,
    Shares,
    IsOdd,
    OddCopy,
    Oddity,
    SeparateFill,
}

/// A sequence of draws (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    /// The draws that belong to the `number`-th thing of a kind.
    pub(super) fn of(seed: u64, kind: Kind, number: u64) -> Draws {
        Draws(mix(mix(seed ^ mix(kind as u64)).wrapping_add(number.wrapping_mul(STEP))))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub(super) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Writes `0x` and `BYTES` bytes as lower-case hexadecimal over `text`.
    pub(super) fn hex<const BYTES: usize>(&mut self, text: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut pairs = [[0u8; 2]; BYTES];
        for chunk in pairs.chunks_mut(8) {
            for (pair, byte) in chunk.iter_mut().zip(self.bits().to_le_bytes()) {
                *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            }
        }
        text.clear();
        text.push_str("0x");
        text.push_str(std::str::from_utf8(pairs.as_flattened()).unwrap_or_default());
    }
}

/// A shuffle of the numbers below a length that is never held in memory: a Feistel network over the next power of
/// four, walked on until it lands inside.
#[derive(Clone, Debug)]
pub(super) struct Shuffle {
    seed: u64,
    length: u64,
    half_bits: u32,
}

impl Shuffle {
    pub(super) fn new(seed: u64, length: u64) -> Shuffle {
        let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
        Shuffle { seed: mix(seed), length, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Where the number at `place` comes from; `place` must be below the length.
    pub(super) fn at(&self, place: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let mut number = place;
        loop {
            let (mut left, mut right) = (number >> self.half_bits, number & mask);
            for round in 0..4 {
                (left, right) = (right, left ^ (mix(self.seed ^ mix(right + (round << 32))) & mask));
            }
            number = (left << self.half_bits) | right;
            if number < self.length {
                return number;
            }
        }
    }
}
