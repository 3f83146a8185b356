//! Which segments may be dropped: never one that somebody needs, then the oldest, as far as the limits want. Pure.

use crate::Position;
use crate::catalogue::Catalogue;
use std::time::Duration;

/// How much history is kept that nobody needs any more, and how much at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments at most, whoever needs them. A segment that would exceed them is not begun unless older ones can go.
    pub most_bytes: u64,
    /// Bytes of all segments, the one that is written included.
    pub bytes: u64,
    /// Age of the newest entry of a segment.
    pub age: Duration,
}

/// Somebody who needs entries: a server that is behind, a backup that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Who, for messages.
    pub holder: String,
    /// The first position that is needed.
    pub from: Position,
    /// Whether the holder can do without when there is no room: it is rebuilt then.
    pub yields: bool,
}

/// Who needs what.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Needs {
    /// Nobody has been asked yet, so everything may be needed.
    #[default]
    Unknown,
    Known(Vec<Need>),
}

impl Needs {
    /// Who needs the oldest entries, and from where.
    pub fn first(&self, pressure: Pressure) -> Option<Need> {
        match self {
            Self::Unknown => Some(Need {
                holder: "what servers need is not known yet".to_owned(),
                from: 0,
                yields: false,
            }),
            Self::Known(needs) => {
                let counts = |need: &&Need| pressure == Pressure::Limits || !need.yields;
                needs.iter().filter(counts).min_by_key(|need| need.from).cloned()
            }
        }
    }
}

/// Which limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The segments take this many bytes more than [`Limits::bytes`].
    Bytes(u64),
    /// The oldest segment is by so much older than [`Limits::age`].
    Age(Duration),
}

/// Segments that the limits would drop, were they not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Who needs the oldest entries.
    pub by: Need,
    /// What the limits say.
    pub excess: Excess,
}

/// What retention decided.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many of the oldest segments to drop.
    pub drop: usize,
    /// Why no more are dropped although a limit is exceeded.
    pub held_back: Option<HeldBack>,
}

/// Why something is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// There is more than the limits want.
    Limits,
    /// There is no room for what is to be written now.
    NoRoom,
}

/// What to drop at the time `now`, in microseconds since 1970. The last segment always stays.
pub(crate) fn judge(catalogue: &Catalogue, limits: Limits, needs: &Needs, now: u64, pressure: Pressure) -> Verdict {
    let need = needs.first(pressure);
    let mut bytes = catalogue.bytes();
    let mut drop = 0;
    let complete = catalogue.segments.len().saturating_sub(1);
    for segment in catalogue.segments.iter().take(complete) {
        let age = Duration::from_micros(now.saturating_sub(segment.unix_micros));
        let excess = if bytes > limits.bytes {
            Excess::Bytes(bytes - limits.bytes)
        } else if age > limits.age {
            Excess::Age(age - limits.age)
        } else {
            break;
        };
        if let Some(by) = need.as_ref().filter(|need| need.from <= segment.last) {
            let by = by.clone();
            let held_back = Some(HeldBack { by, excess });
            return Verdict { drop, held_back };
        }
        bytes -= segment.size;
        drop += 1;
    }
    let held_back = None;
    Verdict { drop, held_back }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;
    use crate::catalogue::Segment;
    use crate::segment::SegmentHeader;

    /// Segments of ten entries and 100 bytes, each last written at ten times its place, in seconds.
    fn catalogue(segments: u64) -> Catalogue {
        let segment = |place| {
            let header = SegmentHeader {
                log: LogId(1),
                salt: 0,
                first: place * 10 + 1,
                unix_micros: 0,
            };
            let mut segment = Segment::empty(header, 100);
            segment.last = place * 10 + 10;
            segment.unix_micros = place * 10_000_000;
            segment
        };
        Catalogue {
            segments: (0..segments).map(segment).collect(),
        }
    }

    fn limits(bytes: u64, seconds: u64) -> Limits {
        let age = Duration::from_secs(seconds);
        Limits {
            most_bytes: u64::MAX,
            bytes,
            age,
        }
    }

    fn needs(from: Position) -> Needs {
        let holder = "db2".to_owned();
        let yields = false;
        Needs::Known(vec![Need { holder, from, yields }])
    }

    #[test]
    fn within_the_limits_everything_stays() {
        let verdict = judge(
            &catalogue(3),
            limits(300, 100),
            &Needs::Known(vec![]),
            0,
            Pressure::Limits,
        );
        assert_eq!((verdict.drop, verdict.held_back), (0, None));
    }

    #[test]
    fn the_oldest_go_until_the_bytes_fit_and_the_last_always_stays() {
        let nobody = Needs::Known(vec![]);
        assert_eq!(
            judge(&catalogue(5), limits(250, 100), &nobody, 0, Pressure::Limits).drop,
            3
        );
        assert_eq!(
            judge(&catalogue(5), limits(0, 100), &nobody, 0, Pressure::Limits).drop,
            4
        );
        assert_eq!(
            judge(&catalogue(1), limits(0, 0), &nobody, 1 << 40, Pressure::Limits).drop,
            0
        );
    }

    #[test]
    fn old_segments_go() {
        let nobody = Needs::Known(vec![]);
        assert_eq!(
            judge(&catalogue(5), limits(1000, 15), &nobody, 30_000_000, Pressure::Limits).drop,
            2
        );
    }

    #[test]
    fn what_is_needed_stays_and_the_holder_is_named() {
        let verdict = judge(&catalogue(5), limits(100, 100), &needs(15), 0, Pressure::Limits);
        assert_eq!(verdict.drop, 1);
        let held = verdict.held_back.unwrap();
        assert_eq!((held.by.holder.as_str(), held.excess), ("db2", Excess::Bytes(300)));
        assert_eq!(
            judge(&catalogue(5), limits(100, 100), &needs(21), 0, Pressure::Limits).drop,
            2
        );
    }

    #[test]
    fn nothing_goes_before_anybody_has_said_what_is_needed() {
        let verdict = judge(&catalogue(5), limits(100, 100), &Needs::Unknown, 0, Pressure::Limits);
        assert_eq!(verdict.drop, 0);
        assert!(verdict.held_back.is_some());
    }

    #[test]
    fn who_can_do_without_keeps_nothing_when_there_is_no_room() {
        let need = |holder: &str, from, yields| Need {
            holder: holder.into(),
            from,
            yields,
        };
        let needs = Needs::Known(vec![need("db2", 1, true), need("db3", 31, false)]);
        assert_eq!(
            judge(&catalogue(5), limits(0, 100), &needs, 0, Pressure::Limits).drop,
            0
        );
        assert_eq!(
            judge(&catalogue(5), limits(0, 100), &needs, 0, Pressure::NoRoom).drop,
            3
        );
        assert_eq!(
            judge(&catalogue(5), limits(0, 100), &Needs::Unknown, 0, Pressure::NoRoom).drop,
            0
        );
    }
}
