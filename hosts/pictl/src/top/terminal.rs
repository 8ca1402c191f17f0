//! The terminal, taken over and given back whatever happens.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::fleet::{Fleet, Sort};
use super::screen;

/// How often the thread that reads keys looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// What a key asks for.
pub(super) enum Key {
    Quit,
    Sort(Sort),
    Scroll(isize),
    /// Nothing, or a new size: draw again.
    Other,
}

/// The screen. Dropping it gives the terminal back, and so does a panic: ratatui puts itself before the panic's message.
pub(super) struct Terminal {
    screen: DefaultTerminal,
    keys: mpsc::Receiver<io::Result<Key>>,
}

impl Terminal {
    pub(super) fn take() -> io::Result<Self> {
        let screen = ratatui::try_init()?;
        let (pressed, keys) = mpsc::channel(16);
        // a thread of its own, because reading keys blocks; it ends soon after the receiver has gone
        std::thread::spawn(move || {
            while !pressed.is_closed() {
                let key = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read().map(|event| meaning(&event)),
                    Err(error) => Err(error),
                };
                let failed = key.is_err();
                if pressed.blocking_send(key).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self { screen, keys })
    }

    pub(super) fn draw(&mut self, fleet: &Fleet) -> io::Result<()> {
        self.screen.draw(|frame| screen::draw(frame, fleet)).map(drop)
    }

    /// The next key; a terminal that has gone is as good as quitting.
    pub(super) async fn key(&mut self) -> io::Result<Key> {
        self.keys.recv().await.unwrap_or(Ok(Key::Quit))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = ratatui::try_restore(); // nobody left to tell
    }
}

fn meaning(event: &Event) -> Key {
    let Event::Key(key) = event else { return Key::Other };
    if key.kind == KeyEventKind::Release {
        return Key::Other;
    }
    match key.code {
        // raw mode makes a key of it
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('n') => Key::Sort(Sort::Name),
        KeyCode::Char('c') => Key::Sort(Sort::Cpu),
        KeyCode::Char('m') => Key::Sort(Sort::Memory),
        KeyCode::Char('t') => Key::Sort(Sort::Temperature),
        KeyCode::Up => Key::Scroll(-1),
        KeyCode::Down => Key::Scroll(1),
        KeyCode::PageUp => Key::Scroll(-20),
        KeyCode::PageDown => Key::Scroll(20),
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn interrupting_is_a_key_in_raw_mode() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(matches!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Key::Quit));
        assert!(matches!(key(KeyCode::Char('c'), KeyModifiers::NONE), Key::Sort(Sort::Cpu)));
        assert!(matches!(meaning(&Event::Resize(80, 24)), Key::Other));
    }
}
