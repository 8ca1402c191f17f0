//! Which entries a stream has. A filter holds words and numbers; nothing in it is ever opened as a path.

use regex::bytes::{Regex, RegexBuilder};

use super::cursor::Cursor;
use super::entry::Entry;

/// Units, identifiers or fields of one filter, each.
pub(crate) const WORDS: usize = 32;
/// Files of one filter, and of one configuration.
pub(crate) const FILES: usize = 16;
/// Newest entries to start with.
pub(crate) const TAIL: u32 = 100_000;
/// Bytes of a pattern.
const PATTERN_BYTES: usize = 1024;
/// Bytes that a compiled pattern may take, and once more for what it keeps while it searches.
const COMPILED_BYTES: usize = 128 << 10;

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) journal: bool,
    pub(crate) kernel: bool,
    pub(crate) agent: bool,
    /// Names of the configuration.
    pub(crate) files: Vec<String>,
}

impl Sources {
    pub(crate) fn is_empty(&self) -> bool {
        !(self.journal || self.kernel || self.agent) && self.files.is_empty()
    }

    /// Their words: `journal`, `kernel`, `agent`, `file:NAME`.
    pub(crate) fn words(&self) -> Vec<String> {
        let known = [(self.journal, "journal"), (self.kernel, "kernel"), (self.agent, "agent")];
        let known = known.into_iter().filter(|(is_read, _)| *is_read).map(|(_, word)| word.to_owned());
        known.chain(self.files.iter().map(|file| format!("file:{file}"))).collect()
    }

    /// The first that is not among `allowed`.
    pub(crate) fn first_beyond(&self, allowed: &Sources) -> Option<String> {
        let allowed = allowed.words();
        self.words().into_iter().find(|word| !allowed.contains(word))
    }

    /// What of these is read unless something is asked for: files only where there is nothing else.
    pub(crate) fn usual(&self) -> Sources {
        let others = Sources { files: Vec::new(), ..self.clone() };
        if others.is_empty() { self.clone() } else { others }
    }
}

/// Further fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fields {
    #[default]
    None,
    These(Vec<String>),
    All,
}

/// A checked filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sources: Sources,
    /// With their suffix.
    pub(crate) units: Vec<String>,
    pub(crate) identifiers: Vec<String>,
    /// 0 to 7; this severe or worse.
    pub(crate) priority: Option<u8>,
    /// Microseconds since 1970.
    pub(crate) since_us: Option<u64>,
    pub(crate) until_us: Option<u64>,
    /// 0 is the current one, -1 the one before.
    pub(crate) boot: Option<i32>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) tail: Option<u32>,
    pub(crate) follow: bool,
    pub(crate) after: Cursor,
    pub(crate) fields: Fields,
}

impl Filter {
    /// All but the boot, which only the source knows. The message must have been redacted: who searches would
    /// otherwise learn what was taken out.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.matches_source(entry)
            && self.since_us.is_none_or(|since| entry.time_us >= since)
            && self.until_us.is_none_or(|until| entry.time_us <= until)
            && self.matches_text(&entry.message.bytes)
    }

    /// What journalctl is asked for and need not be looked at again.
    fn matches_source(&self, entry: &Entry) -> bool {
        (self.units.is_empty() || self.units.contains(&entry.unit))
            && (self.identifiers.is_empty() || self.identifiers.contains(&entry.identifier))
            && self.priority.is_none_or(|worst| entry.priority.is_some_and(|priority| priority <= worst))
    }

    /// The rest of it.
    pub(crate) fn matches_rest(&self, entry: &Entry) -> bool {
        self.since_us.is_none_or(|since| entry.time_us >= since)
            && self.until_us.is_none_or(|until| entry.time_us <= until)
            && self.matches_text(&entry.message.bytes)
    }

    pub(crate) fn matches_text(&self, message: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(message))
    }
}

/// A unit's name with its suffix, as the service manager completes it.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn unit(name: &str) -> Result<String, &'static str> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.@\\".contains(&byte);
    if name.is_empty() || name.len() > 255 || !name.bytes().all(is_of_name) {
        return Err("must be a unit's name, such as nginx.service: letters, digits and : - _ . @ \\");
    }
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".target",
        ".device",
        ".mount",
        ".automount",
        ".swap",
        ".timer",
        ".path",
        ".slice",
        ".scope",
    ];
    let is_whole = SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix));
    Ok(if is_whole { name.to_owned() } else { format!("{name}.service") })
}

/// A syslog identifier. A slash is allowed: cron's is `/USR/SBIN/CRON`. It is only compared.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn identifier(text: &str) -> Result<String, &'static str> {
    let is_good = !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
    is_good.then(|| text.to_owned()).ok_or("must be an identifier: 1 to 128 bytes without control characters")
}

/// The name of a file in the configuration: never its path.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn file(name: &str) -> Result<String, &'static str> {
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_good = (1..=32).contains(&name.len()) && name.bytes().all(is_of_name);
    is_good.then(|| name.to_owned()).ok_or("must be a name of the node's configuration: a to z, 0 to 9, - and _")
}

/// The name of a field of the journal.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn field(name: &str) -> Result<String, &'static str> {
    let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_good = (1..=64).contains(&name.len()) && name.bytes().all(is_of_name);
    is_good.then(|| name.to_owned()).ok_or("must be a field's name: A to Z, 0 to 9 and _; or * for all")
}

/// A pattern, compiled within its bounds. Matching takes time linear in the message, whatever the pattern.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_BYTES {
        return Err(format!("must have at most {PATTERN_BYTES} bytes"));
    }
    if text.contains('\0') {
        return Err("must not contain NUL".to_owned());
    }
    let mut builder = RegexBuilder::new(text);
    builder.unicode(false).size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES).nest_limit(32);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too big when compiled: use smaller repetitions".to_owned(),
        // its own message is several lines with a drawing
        other => format!("is no regular expression: {}", other.to_string().lines().last().unwrap_or_default().trim()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Position;
    use super::super::entry::Capped;
    use super::*;
    use proptest::prelude::*;

    fn entry() -> Entry {
        let position = Position::Memory { epoch: 1, sequence: 1 };
        let message = Capped::new(b"GET /x 200", 100);
        Entry {
            unit: "nginx.service".to_owned(),
            identifier: "nginx".to_owned(),
            priority: Some(4),
            ..Entry::bare(position, 1000, message)
        }
    }

    #[test]
    fn each_part_decides() {
        let meets = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.matches(&entry())
        };
        assert!(meets(&|_| {}));
        assert!(meets(&|f| f.units = vec![unit("nginx").unwrap(), unit("ssh").unwrap()]));
        assert!(!meets(&|f| f.units = vec![unit("ssh").unwrap()]));
        assert!(!meets(&|f| f.identifiers = vec!["ngin".to_owned()]));
        assert!(meets(&|f| f.priority = Some(4)) && !meets(&|f| f.priority = Some(3)));
        assert!(meets(&|f| f.since_us = Some(1000)) && !meets(&|f| f.since_us = Some(1001)));
        assert!(meets(&|f| f.until_us = Some(1000)) && !meets(&|f| f.until_us = Some(999)));
        assert!(
            meets(&|f| f.pattern = pattern("GET .* 2\\d\\d$").ok()) && !meets(&|f| f.pattern = pattern("POST").ok())
        );
    }

    #[test]
    fn units_are_completed_and_never_paths() {
        assert_eq!(unit("nginx").unwrap(), "nginx.service");
        assert_eq!(unit("-.mount").unwrap(), "-.mount");
        assert_eq!(unit("dbus.socket").unwrap(), "dbus.socket");
        for bad in ["", "../x", "/etc/passwd", "a/b", "a\0b", "a b", "*", "ü", &"x".repeat(256)] {
            assert!(unit(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_files_are_never_paths() {
        assert!(file("nginx-access_2").is_ok());
        for bad in ["", ".", "..", "../x", "/etc/shadow", "a/b", "a\0b", "A", "a.log", &"x".repeat(33)] {
            assert!(file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(pattern(&"a".repeat(1 << 20)).unwrap_err().contains("at most 1024"));
        assert!(pattern("(a{1000}){1000}").unwrap_err().contains("too big"));
        assert!(pattern("a\0b").is_err());
        assert!(pattern(&"(".repeat(500)).is_err());
        assert_eq!(pattern("a(").unwrap_err(), "is no regular expression: error: unclosed group");
        let evil = pattern("(a+)+$").unwrap();
        let start = std::time::Instant::now();
        assert!(!evil.is_match(&[&[b'a'; 16 << 10][..], b"!"].concat()));
        // a backtracking one would need longer than the universe has
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_word_that_passes_has_a_slash_or_control_character(text in any::<String>()) {
            for good in [unit(&text), file(&text), field(&text)].into_iter().flatten() {
                prop_assert!(good.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'='));
            }
            if let Ok(good) = identifier(&text) {
                prop_assert!(!good.chars().any(char::is_control));
            }
        }

        #[test]
        fn no_pattern_panics(text in any::<String>()) {
            _ = pattern(&text);
        }
    }
}
