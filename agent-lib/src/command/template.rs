//! Commands that the node's owner has written down, with places for values.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::CommandRefusal;

/// A command with named places. A value fills its place inside one argument: it never becomes two arguments, and no
/// shell sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    arguments: Vec<Vec<Piece>>,
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(String),
}

/// Which values a place takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// One of these.
    OneOf(BTreeSet<String>),
    /// A decimal number in this range, both ends included.
    Number {
        /// The least.
        minimum: i64,
        /// The greatest.
        maximum: i64,
    },
    /// Printable text, without `-` at the start: it cannot be taken for an option.
    Text {
        /// Its greatest length.
        maximum_bytes: usize,
    },
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// There is no program.
    #[error("argv is empty: begin with the program")]
    NoProgram,
    /// The program would be the caller's choice.
    #[error("the program holds a parameter: name a program")]
    ProgramVaries,
    /// A brace is open or stands alone.
    #[error("a brace in {0:?} is open: write {{name}} for a parameter, {{{{ and }}}} for braces")]
    Brace(String),
    /// A place has no parameter.
    #[error("{{{0}}} is no parameter of this template: add it under parameters")]
    Undeclared(String),
    /// A parameter has no place.
    #[error("the parameter {0} is used nowhere: remove it")]
    Unused(String),
}

impl Template {
    /// Reads `argv` with places written `{name}` and braces written `{{` and `}}`.
    ///
    /// # Errors
    ///
    /// If a brace is open, the program varies, or places and parameters do not match.
    pub fn new(argv: &[String], parameters: BTreeMap<String, Parameter>) -> Result<Self, TemplateError> {
        let arguments = argv.iter().map(|argument| pieces(argument)).collect::<Result<Vec<_>, _>>()?;
        let program = arguments.first().ok_or(TemplateError::NoProgram)?;
        if program.iter().any(|piece| matches!(piece, Piece::Place(_))) {
            return Err(TemplateError::ProgramVaries);
        }
        let places: BTreeSet<&String> = arguments.iter().flatten().filter_map(Piece::place).collect();
        if let Some(place) = places.iter().find(|place| !parameters.contains_key(**place)) {
            return Err(TemplateError::Undeclared((*place).clone()));
        }
        if let Some(unused) = parameters.keys().find(|name| !places.contains(name)) {
            return Err(TemplateError::Unused(unused.clone()));
        }
        Ok(Self { arguments, parameters })
    }

    /// The command with these values.
    ///
    /// # Errors
    ///
    /// `Invalid` naming the parameter: it is missing, unknown, or its value is not allowed.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Result<Vec<String>, CommandRefusal> {
        if let Some(unknown) = values.keys().find(|name| !self.parameters.contains_key(*name)) {
            return Err(CommandRefusal::invalid(format!("parameters.{unknown}"), "is no parameter of this template"));
        }
        for (name, parameter) in &self.parameters {
            let field = format!("parameters.{name}");
            let value = values.get(name).ok_or_else(|| CommandRefusal::invalid(field.clone(), "is missing"))?;
            parameter.check(value).map_err(|why| CommandRefusal::invalid(field, why))?;
        }
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(name) => values.get(name).cloned().unwrap_or_default(),
        };
        Ok(self.arguments.iter().map(|pieces| pieces.iter().map(text).collect()).collect())
    }
}

impl Piece {
    const fn place(&self) -> Option<&String> {
        match self {
            Self::Text(_) => None,
            Self::Place(name) => Some(name),
        }
    }
}

impl Parameter {
    fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::OneOf(choices) if choices.contains(value) => Ok(()),
            Self::OneOf(choices) => {
                let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
                Err(format!("is one of {}", choices.join(", ")))
            }
            Self::Number { minimum, maximum } => {
                let plain = value.strip_prefix('-').unwrap_or(value);
                let plain = !plain.is_empty() && plain.bytes().all(|digit| digit.is_ascii_digit());
                let number = value.parse::<i64>().ok().filter(|number| plain && (minimum..=maximum).contains(&number));
                number.map(drop).ok_or_else(|| format!("is a number from {minimum} to {maximum}"))
            }
            Self::Text { maximum_bytes } => {
                let right =
                    value.len() <= *maximum_bytes && !value.starts_with('-') && !value.contains(char::is_control);
                let why = || format!("is printable, does not begin with -, and has at most {maximum_bytes} bytes");
                right.then_some(()).ok_or_else(why)
            }
        }
    }
}

fn pieces(argument: &str) -> Result<Vec<Piece>, TemplateError> {
    let open = || TemplateError::Brace(argument.into());
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), argument);
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = rest.split_once('}').filter(|_| brace == "{").ok_or_else(open)?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(open());
        }
        pieces.push(Piece::Text(core::mem::take(&mut text)));
        pieces.push(Piece::Place(name.into()));
        rest = after;
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_string()).collect()
    }

    fn text(name: &str) -> BTreeMap<String, Parameter> {
        BTreeMap::from([(name.to_string(), Parameter::Text { maximum_bytes: 100 })])
    }

    #[test]
    fn values_fill_their_places() {
        let template = Template::new(&strings(&["ls", "--in={where}", "{{x}}", "{where}/y"]), text("where")).unwrap();
        let filled = template.fill(&BTreeMap::from([("where".to_string(), "a b".to_string())])).unwrap();
        assert_eq!(filled, strings(&["ls", "--in=a b", "{x}", "a b/y"]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = Parameter::OneOf(BTreeSet::from(["a".to_string()]));
        let number = Parameter::Number { minimum: -1, maximum: 9 };
        let text = Parameter::Text { maximum_bytes: 3 };
        for (parameter, good, bad) in [
            (one, vec!["a"], vec!["", "b", "a "]),
            (number, vec!["-1", "9", "0"], vec!["10", "+1", "", "-", "1.0", " 1"]),
            (text, vec!["", "abc", "é"], vec!["-a", "abcd", "a\n"]),
        ] {
            assert!(good.iter().all(|value| parameter.check(value).is_ok()), "{parameter:?}");
            assert!(bad.iter().all(|value| parameter.check(value).is_err()), "{parameter:?}");
        }
    }

    #[test]
    fn templates_that_make_no_sense_are_told() {
        let wrong = |argv: &[&str], parameters| Template::new(&strings(argv), parameters).unwrap_err();
        assert_eq!(wrong(&[], BTreeMap::new()), TemplateError::NoProgram);
        assert_eq!(wrong(&["{p}"], text("p")), TemplateError::ProgramVaries);
        assert_eq!(wrong(&["a", "{p"], text("p")), TemplateError::Brace("{p".into()));
        assert_eq!(wrong(&["a", "p}"], text("p")), TemplateError::Brace("p}".into()));
        assert_eq!(wrong(&["a", "{q}"], text("p")), TemplateError::Undeclared("q".into()));
        assert_eq!(wrong(&["a"], text("p")), TemplateError::Unused("p".into()));
        let template = Template::new(&strings(&["a", "{p}"]), text("p")).unwrap();
        assert!(template.fill(&BTreeMap::new()).is_err());
        let many = ["p", "q"].map(|name| (name.to_string(), String::new()));
        assert!(template.fill(&BTreeMap::from(many)).is_err());
    }

    proptest! {
        #[test]
        fn a_value_never_becomes_a_second_argument(value in "[^-\\p{Cc}]{0,30}") {
            let template = Template::new(&strings(&["echo", "{p}", "end"]), text("p")).unwrap();
            if let Ok(filled) = template.fill(&BTreeMap::from([("p".to_string(), value.clone())])) {
                prop_assert_eq!(filled, strings(&["echo", &value, "end"]));
            } else {
                prop_assert!(value.len() > 100);
            }
        }
    }
}
