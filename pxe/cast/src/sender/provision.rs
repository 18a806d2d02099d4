//! How many symbols are sent so that enough of them arrive.
//!
//! All losses are parts of a million. Integers only: the same on every machine.

/// Of so many, all.
pub(super) const MILLION: u32 = 1_000_000;

/// Repair symbols that go with a group of `symbols` data symbols to `receivers` receivers: what is lost on the way to one of them
/// on average, and a little less than what the unluckiest of them loses beyond that. One symbol too few is sent later,
/// one too many is lost for good.
pub(super) fn ahead(symbols: u16, receivers: u32, loss: u32) -> u16 {
    if loss == 0 || receivers == 0 {
        return 0;
    }
    let milli = lost_milli(symbols, loss);
    let deviation = (milli * 1000).isqrt();
    // The largest of n normal deviates is near sqrt(2 ln n); sqrt(2 ln 2 log2 n) with two decimals. One deviation less is what
    // is hardly ever too much, whoever the receivers are.
    let largest = (13_863 * u64::from(receivers.ilog2())).isqrt();
    let lucky = milli + largest * deviation / 100;
    u16::try_from(lucky.saturating_sub(deviation) / 1000).unwrap_or(u16::MAX)
}

/// Repair symbols that are sent to one who lacks `deficit` of them: these, what is lost of them on average, and half a deviation
/// more: another round takes longer than a symbol.
pub(super) fn again(deficit: u16, loss: u32) -> u16 {
    if loss == 0 || deficit == 0 {
        return deficit;
    }
    let milli = lost_milli(deficit, loss);
    let more = (milli + (milli * 1000).isqrt() / 2).div_ceil(1000);
    deficit.saturating_add(u16::try_from(more).unwrap_or(u16::MAX))
}

/// Symbols to be sent of a ring of `all` that have all been sent before, so that somebody who has `of - deficit` of them gets
/// `deficit` that it has not: of those it has, some come again.
pub(super) fn anew(deficit: u16, of: u16, all: u16, loss: u32) -> u16 {
    let lacking = u32::from(all.saturating_sub(of)) + u32::from(deficit);
    let sent = u32::from(again(deficit, loss)) * u32::from(all);
    // Not all of them: what is lost at the beginning, or at the end, shall be something else each time.
    u16::try_from(sent.div_ceil(lacking.max(1))).unwrap_or(u16::MAX).min(of)
}

/// What is lost while so many arrive, in thousandths of a symbol.
fn lost_milli(symbols: u16, loss: u32) -> u64 {
    let loss = loss.min(MILLION / 2);
    u64::from(symbols) * u64::from(loss) * 1000 / u64::from(MILLION - loss)
}

/// So many of a million of a rate.
pub(super) fn part(rate: u64, of_a_million: u32) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(of_a_million) / u128::from(MILLION)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_loss_nothing_is_sent_in_advance() {
        assert_eq!(ahead(1024, 64, 0), 0);
        assert_eq!(ahead(1024, 0, 50_000), 0);
        assert_eq!(again(7, 0), 7);
    }

    #[test]
    fn what_goes_ahead_is_near_what_the_unluckiest_loses() {
        // Binomial losses of 1024 symbols and what is sent for them, at 1, 5 and 10 %.
        assert_eq!(ahead(1024, 1, 10_000), 7);
        assert_eq!(ahead(1024, 64, 10_000), 16);
        assert_eq!(ahead(1024, 64, 50_000), 67);
        assert_eq!(ahead(1024, 64, 100_000), 133);
        assert_eq!(ahead(1, 64, 10_000), 0);
        assert!(ahead(u16::MAX, u32::MAX, u32::MAX) >= 1024, "extremes do not overflow");
    }

    #[test]
    fn who_lacks_some_gets_a_few_more() {
        assert_eq!(again(0, 100_000), 0);
        assert_eq!(again(1, 10_000), 2);
        assert_eq!(again(20, 50_000), 22);
        assert_eq!(again(100, 100_000), 113);
        assert_eq!(again(u16::MAX, u32::MAX), u16::MAX);
    }

    #[test]
    fn what_was_sent_before_is_sent_in_proportion() {
        assert_eq!(anew(1024, 1024, 1280, 0), 1024, "who has nothing gets as many as it needs");
        assert_eq!(anew(4, 1024, 1280, 0), 20, "one in five is new to it");
        assert_eq!(anew(1024, 1024, 1280, 500_000), 1024, "never more than a group has");
        assert_eq!(anew(0, 0, 0, 0), 0);
    }
}
