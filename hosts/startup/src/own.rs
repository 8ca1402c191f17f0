//! What is logged, handed on as lines.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Hands each event to a function: severity, module, text.
pub(crate) struct Own<F>(pub(crate) F);

impl<S: Subscriber, F: Fn(u8, &str, String) + Send + Sync + 'static> Layer<S> for Own<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        (self.0)(priority, event.metadata().target(), line.message + &line.fields);
    }
}

/// The message, then ` name=value` of each field, as the lines on standard error have it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // writing to a string cannot fail
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn events_become_lines() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let keep = move |priority, module: &str, text| kept.lock().unwrap().push((priority, module.to_owned(), text));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Own(keep)), || {
            tracing::warn!(line = 17, who = %"anna", "it broke");
        });
        let expected = (4, module_path!().to_owned(), "it broke line=17 who=anna".to_owned());
        assert_eq!(*lines.lock().unwrap(), [expected]);
    }
}
