//! When how much of a network images may take: by day less than by night, on a network that others use too.

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// A part of the week, and what is allowed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The minute of the day at which it begins, below [`DAY`].
    pub from: u16,
    /// The minute at which it is over, at most [`DAY`]; earlier than `from`: on the next day.
    pub to: u16,
    /// On which days it begins.
    pub days: Days,
    /// Megabits a second; 0: nothing is sent to all, and those who fetch have a tenth of the link.
    pub limit_mbit: u64,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All seven.
    pub const DAILY: Days = Days(0x7f);

    /// From one day to another, both included, over the week's end if need be; Monday is 0, and 7 again.
    pub fn span(first: u8, last: u8) -> Days {
        let (first, last) = (first % 7, last % 7);
        let length = (last + 7 - first) % 7;
        (0..=length).fold(Days::default(), |days, day| days.and(Days(1 << ((first + day) % 7))))
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Days) -> Days {
        Days(self.0 | others.0)
    }

    /// Whether this day is one of them; Monday is 0.
    pub fn has(self, day: u8) -> bool {
        self.0 & (1 << (day % 7)) != 0
    }
}

/// A moment of the week by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monday is 0.
    pub day: u8,
    /// Since midnight.
    pub minute: u16,
}

impl Hours {
    fn holds(&self, now: Moment) -> bool {
        let before = (now.day % 7 + 6) % 7;
        if self.from < self.to {
            return self.days.has(now.day) && (self.from..self.to).contains(&now.minute);
        }
        self.days.has(now.day) && now.minute >= self.from || self.days.has(before) && now.minute < self.to
    }
}

/// What images may take of one network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// Megabits a second; none: what the link can; 0: nothing is sent to all.
    pub mbit: Option<u64>,
    /// Whether those who fetch leave nine tenths of the link alone while nothing is sent to all.
    pub spares: bool,
}

/// What is allowed now: what the hours say, the least of them where several do, else what is usual.
pub fn cap(hours: &[Hours], usual_mbit: Option<u64>, now: Moment) -> Cap {
    let least = hours.iter().filter(|hours| hours.holds(now)).map(|hours| hours.limit_mbit).min();
    match least {
        Some(mbit) => Cap { mbit: Some(mbit), spares: mbit == 0 },
        None => Cap { mbit: usual_mbit, spares: false },
    }
}

/// How the cap of one network is divided, in megabits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// For all that is sent to many at once; 0: nothing.
    pub sending: u64,
    /// For all that is fetched; none: nothing is held back.
    pub fetching: Option<u64>,
}

impl Cap {
    /// Both have half while both want some. `link_mbit` is what the link can; `sends`: something is sent to many there;
    /// `fetches`: somebody fetches there.
    pub fn parts(self, link_mbit: u64, sends: bool, fetches: bool) -> Parts {
        let half = |mbit: u64, other: bool| if other { (mbit / 2).max(1) } else { mbit };
        match self.mbit {
            None => Parts { sending: link_mbit, fetching: None },
            Some(0) => Parts { sending: 0, fetching: self.spares.then_some((link_mbit / 10).max(1)) },
            Some(mbit) => {
                Parts { sending: half(mbit, fetches).min(link_mbit), fetching: Some(half(mbit, sends)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cap, DAY, Days, Hours, Moment, Parts, cap};

    fn at(day: u8, hour: u16, minute: u16) -> Moment {
        Moment { day, minute: hour * 60 + minute }
    }

    fn hours(from: u16, to: u16, days: Days, limit_mbit: u64) -> Hours {
        Hours { from: from * 60, to: to * 60, days, limit_mbit }
    }

    #[test]
    fn days_go_over_the_end_of_the_week() {
        let of = |days: Days| (0..7).filter(|day| days.has(*day)).collect::<Vec<_>>();
        assert_eq!(of(Days::span(0, 4)), [0, 1, 2, 3, 4]);
        assert_eq!(of(Days::span(4, 0)), [0, 4, 5, 6], "Friday to Monday");
        assert_eq!(of(Days::span(6, 6)), [6]);
        assert_eq!(of(Days::span(0, 6)), of(Days::DAILY));
        assert_eq!(of(Days::span(1, 1).and(Days::span(3, 3))), [1, 3]);
        assert!(of(Days::default()).is_empty());
    }

    #[test]
    fn working_hours_are_the_working_days_alone() {
        let work = [hours(8, 18, Days::span(0, 4), 100)];
        let table = [
            (at(0, 7, 59), Some(800)),
            (at(0, 8, 0), Some(100)),
            (at(4, 17, 59), Some(100)),
            (at(4, 18, 0), Some(800)),
            (at(5, 12, 0), Some(800)),
            (at(6, 12, 0), Some(800)),
        ];
        for (now, mbit) in table {
            assert_eq!(cap(&work, Some(800), now), Cap { mbit, spares: false }, "{now:?}");
        }
        assert_eq!(cap(&[], None, at(0, 0, 0)), Cap::default());
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night = [hours(22, 6, Days::span(4, 4), 50)];
        let table = [
            (at(4, 21, 59), None),
            (at(4, 22, 0), Some(50)),
            (at(5, 0, 0), Some(50)),
            (at(5, 5, 59), Some(50)),
            (at(5, 6, 0), None),
            (at(5, 22, 0), None),
            (at(4, 3, 0), None),
        ];
        for (now, mbit) in table {
            assert_eq!(cap(&night, None, now).mbit, mbit, "{now:?}");
        }
        let sunday = [hours(22, 6, Days::span(6, 6), 50)];
        assert_eq!(cap(&sunday, None, at(0, 5, 0)).mbit, Some(50), "into Monday");
        let whole = [Hours { from: 0, to: DAY, days: Days::DAILY, limit_mbit: 9 }];
        for minute in 0..DAY {
            assert_eq!(cap(&whole, None, Moment { day: 3, minute }).mbit, Some(9));
        }
    }

    #[test]
    fn where_several_hours_hold_the_least_counts() {
        let both =
            [hours(8, 18, Days::DAILY, 100), hours(12, 13, Days::DAILY, 0), hours(9, 17, Days::DAILY, 400)];
        assert_eq!(cap(&both, None, at(2, 10, 0)), Cap { mbit: Some(100), spares: false });
        assert_eq!(cap(&both, None, at(2, 12, 30)), Cap { mbit: Some(0), spares: true });
    }

    #[test]
    fn both_lanes_together_stay_below_the_cap() {
        let usual = |mbit| Cap { mbit, spares: false };
        let of = |sending, fetching| Parts { sending, fetching };
        assert_eq!(usual(None).parts(1000, true, true), of(1000, None));
        assert_eq!(
            usual(Some(0)).parts(1000, false, true),
            of(0, None),
            "every server fetches, and is not held back"
        );
        assert_eq!(Cap { mbit: Some(0), spares: true }.parts(1000, false, true), of(0, Some(100)));
        assert_eq!(Cap { mbit: Some(0), spares: true }.parts(5, true, true), of(0, Some(1)));
        assert_eq!(usual(Some(100)).parts(1000, true, false), of(100, Some(50)));
        assert_eq!(usual(Some(100)).parts(1000, false, true), of(50, Some(100)));
        assert_eq!(usual(Some(100)).parts(1000, true, true), of(50, Some(50)));
        assert_eq!(usual(Some(5000)).parts(1000, true, false), of(1000, Some(2500)));
        assert_eq!(usual(Some(1)).parts(1000, true, true), of(1, Some(1)), "nobody gets nothing");
    }
}
