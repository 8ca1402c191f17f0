//! What time it is at least: a Pi boots without a clock, and certificates say from when until when they are good.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::runtime::Handle;

use crate::files::{FileError, read_private, write_private};

/// Where the last proven time is kept: seconds since 1970.
const FILE: &str = "clock";
/// How much later a proven time must be to be worth a write.
const SPACING: Duration = Duration::from_secs(60 * 60);

/// The system's clock, but never before a time that is known to be over: when this was built, when the own certificate
/// was issued, and what the control plane has proven. The system's clock itself is never set.
///
/// The floor goes on with the monotonic clock and never sinks, so that a clock which is set back makes no expired
/// certificate good again. Only times that a server has proven are stored, at most one an hour; what the system's clock
/// says is not, so that a clock which stood too far ahead leaves nothing behind.
pub struct Clock {
    system: Box<dyn Fn() -> SystemTime + Send + Sync>,
    floor: Mutex<Floor>,
    ahead: Mutex<Option<Duration>>,
    stored: Option<Stored>,
}

/// A moment that is over, and when that was known.
#[derive(Clone, Copy)]
struct Floor {
    time: SystemTime,
    known: Instant,
}

struct Stored {
    path: PathBuf,
    /// What the file says, or will in a moment.
    time: Mutex<SystemTime>,
}

impl Floor {
    fn now(self) -> SystemTime {
        self.time + self.known.elapsed()
    }
}

impl Clock {
    /// The system's clock above the time when this was built. What is proven to it lasts as long as the process.
    pub fn system() -> Arc<Self> {
        Arc::new(Self::reading(SystemTime::now))
    }

    /// The same above the last time that was proven to the process that used this state folder before.
    ///
    /// A file that holds no time is told in the log and passed over: the next proof replaces it.
    ///
    /// # Errors
    ///
    /// If the file of the last proven time cannot be read, or can be read by others.
    pub fn load(folder: &Path) -> Result<Arc<Self>, FileError> {
        Self::system_of(folder, SystemTime::now)
    }

    /// As [`Clock::load`] with another clock than the system's.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn system_of(
        folder: &Path,
        system: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<Arc<Self>, FileError> {
        let path = folder.join(FILE);
        let proven = match read_private(&path) {
            Ok(text) => parse(&text).unwrap_or_else(|| {
                tracing::error!(path = %path.display(), "the last proven time is damaged: passed over");
                UNIX_EPOCH
            }),
            Err(error) if error.is_not_found() => UNIX_EPOCH,
            Err(error) => return Err(error),
        };
        let clock = Self::reading(system);
        clock.raise(proven);
        Ok(Arc::new(Self { stored: Some(Stored { path, time: Mutex::new(proven) }), ..clock }))
    }

    fn reading(system: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let floor = Floor { time: built(), known: Instant::now() };
        Self { system: Box::new(system), floor: Mutex::new(floor), ahead: Mutex::default(), stored: None }
    }

    /// The system's clock, or the floor if that is later.
    pub fn now(&self) -> SystemTime {
        (self.system)().max(self.floor())
    }

    /// It is not earlier than this.
    pub fn floor(&self) -> SystemTime {
        lock(&self.floor).now()
    }

    /// How far the system's clock is behind, at least; `None` if it may be right.
    pub fn behind(&self) -> Option<Duration> {
        self.floor().duration_since((self.system)()).ok().filter(|behind| !behind.is_zero())
    }

    /// How far the system's clock seems to be ahead of the control plane's, at least, as of the last try to connect to
    /// it; `None` if nothing speaks for that.
    pub fn ahead(&self) -> Option<Duration> {
        *lock(&self.ahead)
    }

    /// As judged by a handshake that was refused for it, or else was not.
    pub(crate) fn found_ahead(&self, by: Option<Duration>) {
        *lock(&self.ahead) = by;
    }

    /// It is not earlier than `time`, as a certificate of the own control plane says. Not stored: the certificate is.
    pub fn raise(&self, time: SystemTime) {
        let mut floor = lock(&self.floor);
        if time > floor.now() {
            *floor = Floor { time, known: Instant::now() };
        }
    }

    /// It is not earlier than `time`: the control plane has just said so over a connection on which it proved itself.
    /// Never call it with what anybody else says. Stored if that was not done within the hour before `time`.
    pub fn prove(self: &Arc<Self>, time: SystemTime) {
        self.raise(time);
        let Some(stored) = &self.stored else { return };
        {
            let mut last = lock(&stored.time);
            if time < *last + SPACING {
                return;
            }
            *last = time;
        }
        let clock = self.clone();
        match Handle::try_current() {
            // a card may take its time: nobody waits for it
            Ok(runtime) => drop(runtime.spawn_blocking(move || clock.store())),
            Err(_) => self.store(),
        }
    }

    fn store(&self) {
        let Some(Stored { path, time }) = &self.stored else { return };
        // held while writing, so that an older time never replaces a later one
        let time = lock(time);
        if let Err(error) = write_private(path, format!("{}\n", seconds(*time)).as_bytes()) {
            tracing::warn!(%error, "the proven time cannot be stored: a restart will not know it");
        }
    }

    /// Forgets the last time that was proven to who uses this state folder: for a person at the machine, after a control
    /// plane whose own clock was wrong. Whoever runs now keeps its floor until it ends.
    ///
    /// Answers the time that was forgotten.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or removed.
    pub fn reset(folder: &Path) -> Result<Option<SystemTime>, FileError> {
        let path = folder.join(FILE);
        let time = match read_private(&path) {
            Ok(text) => parse(&text),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        std::fs::remove_file(&path).map_err(FileError::io("remove", &path))?;
        Ok(time)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.now()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("floor", &seconds(self.floor())).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // plain values: a panic leaves none of them half-written
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn built() -> SystemTime {
    // set by build.rs, always a number
    UNIX_EPOCH + Duration::from_secs(env!("PI_BUILD_TIME").parse().unwrap_or_default())
}

pub(crate) fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn seconds(time: SystemTime) -> u64 {
    unix(time).as_secs()
}

fn parse(text: &[u8]) -> Option<SystemTime> {
    let seconds: u32 = str::from_utf8(text).ok()?.strip_suffix('\n')?.parse().ok()?; // until 2106
    Some(UNIX_EPOCH + Duration::from_secs(seconds.into()))
}

/// One of two clocks is wrong, as a certificate that the control plane's CA issued shows. Everything else about it was
/// good: chain, pin and identity at the moment when it was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockFault {
    /// It has expired by the system's clock, which nothing proves to be right.
    #[error(
        "this clock is ahead of {of}'s by at least {}, or {of} has not renewed its certificate: set this clock first",
        rough(*.by)
    )]
    Ahead {
        /// Whose certificate it is.
        of: String,
        /// How long ago it expired by this clock.
        by: Duration,
    },
    /// It has expired by a time that is known to be over.
    #[error("the certificate of {of} expired at least {} ago and was not renewed", rough(*.by))]
    Expired {
        /// Whose certificate it is.
        of: String,
        /// How long ago, at least.
        by: Duration,
    },
    /// It is not valid yet.
    #[error("this clock is behind {of}'s by at least {}: set this clock", rough(*.by))]
    Behind {
        /// Whose certificate it is.
        of: String,
        /// How long it is until then by this clock.
        by: Duration,
    },
}

/// In the largest unit of which there are two, rounded down: `3 days`.
fn rough(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(365 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")];
    let seconds = duration.as_secs();
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds} s"), |(length, unit)| format!("{} {unit}", seconds / length))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn whole(time: SystemTime) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds(time))
    }

    #[test]
    fn it_is_never_before_what_is_known_to_be_over() {
        let clock = Clock::reading(|| UNIX_EPOCH);
        assert!(clock.now() >= built() && built() > UNIX_EPOCH + DAY * 365 * 50);
        let proven = built() + DAY;
        clock.raise(proven);
        assert!(clock.now() >= proven && clock.behind().unwrap() >= DAY * 365 * 50);
        clock.raise(built());
        assert!(clock.now() >= proven, "the floor does not sink");
    }

    #[test]
    fn the_floor_goes_on_with_time() {
        let clock = Clock::reading(|| UNIX_EPOCH);
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now() >= first + Duration::from_millis(2));
    }

    #[test]
    fn a_clock_far_ahead_raises_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system_of(folder.path(), || built() + DAY * 3650).unwrap();
        assert!(clock.now() >= built() + DAY * 3650 && clock.behind().is_none());
        clock.prove(built() + DAY);
        assert!(clock.floor() < built() + DAY * 2);
        let corrected = Clock::system_of(folder.path(), || built() + DAY * 2).unwrap();
        assert_eq!(corrected.now(), built() + DAY * 2, "nothing of the wrong time is left");
    }

    #[test]
    fn a_proven_time_outlives_the_process_and_is_stored_once_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let stored = || Clock::system_of(folder.path(), || UNIX_EPOCH).unwrap();
        let (clock, time) = (stored(), whole(built() + DAY));
        clock.prove(time);
        let file = folder.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&file).unwrap();
        clock.prove(time + SPACING - Duration::from_secs(1));
        assert_eq!(fs::read(&file).unwrap(), first, "too soon for another write");
        clock.prove(time + SPACING);
        assert!(stored().floor() >= time + SPACING);
        assert_eq!(Clock::reset(folder.path()).unwrap(), Some(time + SPACING));
        assert!(stored().floor() < time && Clock::reset(folder.path()).unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_passed_over_and_a_loose_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let load = || Clock::system_of(folder.path(), || UNIX_EPOCH);
        for damaged in ["", "17", "now\n", "-1\n", "99999999999999\n", "179\n0000"] {
            write_private(&file, damaged.as_bytes()).unwrap();
            let clock = load().unwrap();
            assert!(clock.floor() < built() + DAY, "{damaged:?}");
        }
        load().unwrap().prove(built() + DAY);
        assert!(load().unwrap().floor() >= whole(built() + DAY), "a proof replaces it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(), Err(FileError::Loose { .. })));
    }

    #[test]
    fn a_fault_is_one_line_with_a_size() {
        let said = ClockFault::Ahead { of: "the control plane".to_owned(), by: DAY * 3653 }.to_string();
        assert!(said.starts_with("this clock is ahead of the control plane's by at least 10 years"), "{said}");
        assert_eq!((rough(DAY), rough(Duration::from_secs(119))), ("24 hours".to_owned(), "119 s".to_owned()));
    }
}
