//! The levels that are to be restored as they were last, in a file of the state folder.
//!
//! SD cards wear: the file is written only when a level has changed, and at most every 5 s however often it does. Each
//! time that is one small file, its rename and its folder, some 20 KiB on ext4: a line that never rests costs 350 MB a
//! day, one that is switched ten times a day 200 KB. A change is written within a second, or within 5 s of the write
//! before; a power cut loses what was not written yet. An orderly stop loses nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_lib::Restore;
use hal_core::{Board, LineId};
use mtls::FileError;
use ring::digest::{SHA256, digest};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::service::Node;

const FILE: &str = "last-levels";
const FIRST_LINE: &str = "pi-agent last levels 1";

/// How often levels are compared with what is written: in memory, nothing is touched.
const LOOK: Duration = Duration::from_secs(1);
/// Writes are at least so far apart.
const SPACING: Duration = Duration::from_secs(5);

type Levels = Vec<(LineId, bool)>;

/// The file, and what it holds.
pub(crate) struct LastLevels {
    path: PathBuf,
    /// `None`: it does not hold levels.
    saved: Option<Levels>,
    /// Not to be forgotten when who waits for it is: the next write must come after it.
    writing: Option<(Levels, JoinHandle<Result<(), FileError>>)>,
    failing: bool,
}

impl LastLevels {
    /// Reads what the agent before this one left. A file that is not whole is told in the log, and holds no levels.
    pub(crate) fn load(state: &Path) -> Self {
        let path = state.join(FILE);
        let saved = match mtls::read_private(&path) {
            Ok(bytes) => {
                let levels = decode(&bytes);
                if levels.is_none() {
                    let path = path.display();
                    tracing::error!(%path, "the last levels are damaged: lines that restore them stay as they are");
                }
                levels
            }
            Err(error) if error.is_not_found() => Some(Levels::new()),
            Err(error) => {
                let why = startup::one_line(&error);
                tracing::error!(%why, "the last levels cannot be read: lines that restore them stay as they are");
                None
            }
        };
        Self { path, saved, writing: None, failing: false }
    }

    /// What is known of how lines were driven last.
    pub(crate) fn levels(&self) -> &[(LineId, bool)] {
        self.saved.as_deref().unwrap_or_default()
    }

    /// Keeps the file up with the lines, for ever; waits for ever if no line asks for it.
    pub(crate) async fn keep<B: Board>(&mut self, node: &Node<B>) {
        if !is_wanted(node) {
            return std::future::pending().await;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        loop {
            looks.tick().await;
            let levels = node.agent().last_levels();
            if Instant::now() >= next && self.saved.as_ref() != Some(&levels) {
                self.save(levels).await;
                next = Instant::now() + SPACING;
            }
        }
    }

    /// Writes these levels, unless they are written.
    pub(crate) async fn save(&mut self, levels: Levels) {
        self.written().await;
        if self.saved.as_ref() == Some(&levels) {
            return;
        }
        let (path, text) = (self.path.clone(), encode(&levels));
        // off the agent's thread: an SD card may take its time
        let writing = spawn_blocking(move || mtls::write_private(&path, text.as_bytes()));
        self.writing = Some((levels, writing));
        self.written().await;
    }

    /// Waits for a write that is under way.
    async fn written(&mut self) {
        let Some((_, writing)) = &mut self.writing else { return };
        let outcome = writing.await;
        let levels = self.writing.take().map(|(levels, _)| levels);
        match outcome {
            Ok(Ok(())) => (self.saved, self.failing) = (levels, false),
            Ok(Err(error)) => self.failed(&startup::one_line(&error)),
            Err(panicked) => self.failed(&panicked.to_string()),
        }
    }

    /// Said once, until it works again.
    fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%why, "the last levels cannot be written: a restart may restore older ones; trying again");
        }
    }
}

/// Whether the policy restores any line as it was last.
pub(crate) fn is_wanted<B: Board>(node: &Node<B>) -> bool {
    let agent = node.agent();
    let policy = agent.policy();
    policy.allowed().any(|line| policy.restore(line) == Restore::Last)
}

fn encode(levels: &[(LineId, bool)]) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    for (line, high) in levels {
        text.push_str(&line.to_string());
        text.push_str(if *high { " high\n" } else { " low\n" });
    }
    sealed(text)
}

/// With a last line that vouches for all before it.
fn sealed(mut text: String) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    text.push_str("sha256 ");
    for byte in digest.as_ref() {
        _ = write!(text, "{byte:02x}"); // to a string: cannot fail
    }
    text.push('\n');
    text
}

/// `None` unless the file is exactly as it was written.
fn decode(bytes: &[u8]) -> Option<Levels> {
    let text = str::from_utf8(bytes).ok()?;
    let body = &text[..text.rfind("sha256 ")?];
    if sealed(body.to_owned()) != text {
        return None;
    }
    body.strip_prefix(FIRST_LINE)?.trim_start().lines().map(level).collect()
}

fn level(text: &str) -> Option<(LineId, bool)> {
    let (line, level) = text.split_once(' ')?;
    let high = match level {
        "high" => true,
        "low" => false,
        _ => return None,
    };
    Some((LineId(line.strip_prefix("GPIO")?.parse().ok()?), high))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [(LineId, bool); 2] = [(LineId(17), true), (LineId(22), false)];

    #[test]
    fn what_is_written_is_read_back() {
        assert!(encode(&LEVELS).starts_with("pi-agent last levels 1\nGPIO17 high\nGPIO22 low\nsha256 "));
        assert_eq!(decode(encode(&LEVELS).as_bytes()).as_deref(), Some(&LEVELS[..]));
        assert_eq!(decode(encode(&[]).as_bytes()), Some(Levels::new()));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_holds_no_levels() {
        let whole = encode(&LEVELS).into_bytes();
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "cut at {length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
        assert_eq!(decode(sealed("another file\n".to_owned()).as_bytes()), None);
        assert_eq!(decode(sealed(format!("{FIRST_LINE}\nGPIO17 up\n")).as_bytes()), None);
    }

    #[tokio::test]
    async fn only_changes_are_written_and_the_last_write_wins() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = LastLevels::load(folder.path());
        assert!(last.levels().is_empty());
        last.save(Levels::new()).await;
        assert!(!folder.path().join(FILE).exists(), "there is nothing to say");
        last.save(LEVELS.to_vec()).await;
        assert_eq!(LastLevels::load(folder.path()).levels(), LEVELS);
        // who waits for a write is gone; the write is not, and the next one comes after it
        let abandoned = last.save(LEVELS[..1].to_vec());
        assert!(futures_util::FutureExt::now_or_never(abandoned).is_none());
        last.save(LEVELS[1..].to_vec()).await;
        assert_eq!(LastLevels::load(folder.path()).levels(), &LEVELS[1..]);
    }

    #[tokio::test]
    async fn a_damaged_file_holds_nothing_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        mtls::write_private(&path, &encode(&LEVELS).as_bytes()[..40]).unwrap();
        let mut last = LastLevels::load(folder.path());
        assert!(last.levels().is_empty());
        last.save(Levels::new()).await;
        assert_eq!(mtls::read_private(&path).unwrap(), encode(&[]).as_bytes());
    }
}
