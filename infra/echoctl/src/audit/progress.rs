//! How far something is that takes a while.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two signs of life.
const PAUSE: Duration = Duration::from_secs(2);

/// Says on stderr how far it is, every two seconds.
pub struct Progress {
    begun: Instant,
    last: Instant,
    terminal: bool,
    line_open: bool,
}

impl Progress {
    /// Begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, terminal: std::io::stderr().is_terminal(), line_open: false }
    }

    /// Says what `text` makes of the seconds since the beginning, when it is time.
    pub fn tick(&mut self, text: impl FnOnce(f64) -> String) {
        if self.last.elapsed() < PAUSE {
            return;
        }
        self.last = Instant::now();
        let text = text(self.begun.elapsed().as_secs_f64());
        if self.terminal {
            // Blanks behind it wipe out what was longer.
            eprint!("\r… {text}    ");
            self.line_open = true;
        } else {
            eprintln!("… {text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.line_open {
            eprintln!();
        }
    }
}
