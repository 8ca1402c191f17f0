//! Takes secrets out of messages, before they leave the node. Best effort: it knows the usual ways to write a secret
//! beside a word that names it, and a few forms of token; a secret that stands alone looks like any other word.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::entry::{Capped, Entry};

/// Stands where a secret was.
const MARK: &[u8] = b"[redacted]";

/// A name that ends in a word for a secret, then what is assigned to it; or a token that is known by its form. The group
/// `keep` goes before the mark.
const PATTERN: &str = r#"(?x)
    (?P<keep1> (?: password | passwd | passphrase | pwd | secret | token | api[_-]?key | access[_-]?key
        | private[_-]?key | client[_-]?secret | credentials? )
        ["']? \s* (?: => | = | : ) \s* )
        (?: "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s"'&,;\[][^\s&,;]* )
    | (?P<keep2> (?: --? (?: password | passwd | passphrase | token | secret | api-key ) ) \s+ ) [^\s-]\S*
    | (?P<keep3> authorization ["']? \s* [:=] \s* ["']? (?: [a-z]+ \s+ )? ) [a-z0-9._~+/=-]{4,}
    | (?P<keep4> \b (?: bearer | basic ) \s+ ) [a-z0-9._~+/=-]{8,}
    | (?P<keep5> \b [a-z][a-z0-9+.-]* :// [^\s/:@]* : ) [^\s/@]+ @
    | \b (?: gh[pousr]_[a-z0-9]{20,} | akia[0-9a-z]{16} | xox[abprs]-[a-z0-9-]{10,} | eyj[a-z0-9_-]{8,}\.eyj[a-z0-9_-]{8,}\.[a-z0-9_-]* )
    | -----BEGIN \s [A-Z\s]* PRIVATE \s KEY----- (?s: .*? (?: -----END \s [A-Z\s]* PRIVATE \s KEY----- | \z ) )
"#;

/// No shorter text has a secret: `pwd=x`.
const SHORTEST: usize = 5;

/// How the names of fields end that hold secrets: what the pattern knows, as far as such a name can be it.
const NAMES: [&str; 14] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "ACCESSKEY",
    "PRIVATE_KEY",
    "PRIVATEKEY",
    "CREDENTIAL",
    "CREDENTIALS",
];

static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let regex = RegexBuilder::new(PATTERN).case_insensitive(true).unicode(false).build();
    regex.ok() // the tests see that it is one
});

/// `text` without its secrets, and how many there were.
pub(crate) fn redact(text: &[u8]) -> (Cow<'_, [u8]>, u32) {
    let Some(secret) = &*SECRET else { return (Cow::Borrowed(MARK), 1) };
    // nearly always; and this much is cheap
    if text.len() < SHORTEST || !secret.is_match(text) {
        return (Cow::Borrowed(text), 0);
    }
    let mut count = 0;
    let clean = secret.replace_all(text, |found: &Captures<'_>| {
        count += 1;
        let keep = (1..=5).find_map(|group| found.get(group)).map_or(b"".as_slice(), |keep| keep.as_bytes());
        let after: &[u8] = if found.get(5).is_some() { b"@" } else { b"" };
        [keep, MARK, after].concat()
    });
    (clean, count)
}

/// Takes the secrets out of an entry, and counts them there.
pub(crate) fn redact_entry(entry: &mut Entry) {
    let mut count = clean(&mut entry.message);
    for (name, value) in &mut entry.fields {
        if is_secret(name) && !value.bytes.is_empty() {
            *value = Capped::new(MARK, MARK.len());
            count += 1;
        } else {
            count += clean(value);
        }
    }
    entry.redactions += count;
}

/// Names of the journal's fields have no lower case.
fn is_secret(name: &str) -> bool {
    NAMES.iter().any(|end| name.ends_with(end))
}

fn clean(value: &mut Capped) -> u32 {
    let (text, count) = redact(&value.bytes);
    if let Cow::Owned(text) = text {
        // What was cut off stays told as cut off; otherwise the length is that of what is sent.
        value.length = if value.is_cut() { value.length } else { text.len() as u64 };
        value.bytes = text;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        String::from_utf8(redact(text.as_bytes()).0.into_owned()).unwrap()
    }

    #[test]
    fn secrets_are_taken_out() {
        for (text, expected) in [
            ("login password=hunter2 ok", "login password=[redacted] ok"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted]"),
            (r#"{"password": "hunter2", "a": 1}"#, r#"{"password": [redacted], "a": 1}"#),
            ("password='two words' x", "password=[redacted] x"),
            ("?user=a&token=abc&x=1", "?user=a&token=[redacted]&x=1"),
            ("mysql --password hunter2 -u x", "mysql --password [redacted] -u x"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"),
            ("sent bearer abcdefgh.ijkl", "sent bearer [redacted]"),
            ("get https://anna:hunter2@host/x", "get https://anna:[redacted]@host/x"),
            ("key ghp_abcdefghijklmnopqrstuvwxyz0123 x", "key [redacted] x"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nx", "[redacted]\nx"),
            ("-----BEGIN PRIVATE KEY-----\nabc", "[redacted]"),
            ("api_key = 'x'", "api_key = [redacted]"),
            ("access-key=>x", "access-key=>[redacted]"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(redact(text.as_bytes()).1, 1, "{text}");
        }
    }

    #[test]
    fn the_rest_stays() {
        for text in ["Accepted password for anna", "tokens: 3 left", "basic test", "a:b@c", "key=5"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn it_is_not_done_twice() {
        let once = shown("password=hunter2 token: x");
        assert_eq!(shown(&once), once);
        assert_eq!(redact(once.as_bytes()).1, 0);
    }

    proptest! {
        #[test]
        fn a_planted_secret_never_survives(
            before in "[ -~]{0,20}",
            name in prop::sample::select(vec!["password", "PASSWD", "token", "client_secret", "Api-Key"]),
            sign in prop::sample::select(vec!["=", ": ", " = ", "=>"]), secret in "S3CRET[a-zA-Z0-9/+_.!#$%-]{4,30}",
        ) {
            let text = format!("{before} {name}{sign}{secret} after");
            let (clean, count) = redact(text.as_bytes());
            prop_assert!(count >= 1);
            prop_assert!(!String::from_utf8_lossy(&clean).contains("S3CRET"), "{}", String::from_utf8_lossy(&clean));
        }

        /// `NAME=x` in a message and a field of that name are treated alike.
        #[test]
        fn names_of_fields_are_those_of_the_pattern(
            before in "[A-Z0-9_]{0,8}", name in prop::sample::select([&NAMES[..], &["KEY", "PASS", "AUTHORIZATION", ""]].concat()),
            after in "[A-Z_]{0,1}",
        ) {
            let name = format!("{before}{name}{after}");
            prop_assert_eq!(is_secret(&name), redact(format!("{name}=x").as_bytes()).1 > 0, "{}", name);
        }

        #[test]
        fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            redact(&bytes);
        }
    }
}
