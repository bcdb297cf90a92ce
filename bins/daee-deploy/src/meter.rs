//! How far several places are, on one line of a terminal or a few lines of a log.

use std::{
    io::{self, Write as _},
    sync::{Arc, Mutex},
};

use daee_client::Progress;

/// Steps at which a log gets a line.
const LOG_STEPS: u64 = 4;
/// Steps at which a terminal's line changes: more would only flicker.
const TERMINAL_STEPS: u64 = 1000;
/// What is smaller is there before anybody has read a line about it.
const SMALL_BYTES: u64 = 4 << 20;

/// Tells how far each place is. Cheap to clone.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<State>>);

struct State {
    quiet: bool,
    terminal: bool,
    places: Vec<PlaceState>,
    /// Whether the terminal's last line is one that changes.
    open: bool,
}

struct PlaceState {
    url: String,
    step: u64,
    said: String,
}

impl Meter {
    pub fn new(quiet: bool, terminal: bool, urls: Vec<String>) -> Self {
        let place = |url| PlaceState { url, step: 0, said: String::new() };
        let places = urls.into_iter().map(place).collect();
        Self(Arc::new(Mutex::new(State { quiet, terminal, places, open: false })))
    }

    pub fn tell(&self, place: usize, progress: &Progress) {
        let mut state = self.0.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(text) = state.text(place, progress) {
            // Nobody reads it any more: the work goes on.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Leaves the terminal's line to what comes next.
    pub fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(|error| error.into_inner());
        if std::mem::take(&mut state.open) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

impl State {
    /// What is to be written now, if anything is.
    fn text(&mut self, place: usize, progress: &Progress) -> Option<String> {
        if self.quiet {
            return None;
        }
        let steps = if self.terminal { TERMINAL_STEPS } else { LOG_STEPS };
        let at = &mut self.places[place];
        let url = &at.url;
        let (line, stays) = match progress {
            Progress::Asking => {
                at.step = 0;
                return None;
            }
            Progress::Sending { sent, bytes, blocks } => {
                let step = sent.bytes.saturating_mul(steps) / bytes.max(&1);
                if step == at.step || *bytes < SMALL_BYTES {
                    return None;
                }
                at.step = step;
                let (done, all) = (mib(sent.bytes), mib(*bytes));
                let line = format!(
                    "sending    {done} of {all} MiB, {} of {blocks} blocks, {url}",
                    sent.blocks
                );
                (line, !self.terminal)
            }
            Progress::Waiting(what) => {
                if at.said == *what {
                    return None;
                }
                at.said.clone_from(what);
                (format!("waiting    {what}, {url}"), !self.terminal)
            }
            Progress::Again { why, pause } => {
                (format!("again      in {} ms: {why}", pause.as_millis()), true)
            }
        };
        let start = if self.open { "\r\x1b[K" } else { "" };
        self.open = !stays;
        Some(format!(
            "{start}{}{}",
            daee_verdict::formats::plain(&line),
            if stays { "\n" } else { "" }
        ))
    }
}

fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daee_client::Sent;

    use super::*;

    fn sending(bytes: u64, all: u64) -> Progress {
        let sent = Sent { bytes, blocks: (bytes >> 20) as usize };
        Progress::Sending { sent, bytes: all, blocks: (all >> 20) as usize }
    }

    fn state(terminal: bool) -> State {
        let place = PlaceState { url: "http://a".to_owned(), step: 0, said: String::new() };
        State { quiet: false, terminal, places: vec![place], open: false }
    }

    #[test]
    fn a_log_gets_few_lines_and_each_of_them_whole() {
        let mut log = state(false);
        let all = 64 << 20;
        let lines: Vec<_> =
            (0..=64).filter_map(|mib| log.text(0, &sending(mib << 20, all))).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[1], "sending    32.0 of 64.0 MiB, 32 of 64 blocks, http://a\n");
        let again = Progress::Again { why: "cut\x1b[2J".to_owned(), pause: Duration::from_secs(1) };
        assert_eq!(log.text(0, &again).unwrap(), "again      in 1000 ms: cut\u{fffd}[2J\n");
        let wait = Progress::Waiting("yaml: queued".to_owned());
        assert_eq!(log.text(0, &wait).unwrap(), "waiting    yaml: queued, http://a\n");
        assert_eq!(log.text(0, &wait), None, "once is enough");
    }

    #[test]
    fn a_terminals_line_is_written_over_until_something_is_to_stay() {
        let mut terminal = state(true);
        let first = terminal.text(0, &sending(8 << 20, 64 << 20)).unwrap();
        assert!(!first.contains('\n') && !first.contains('\r'), "{first:?}");
        let second = terminal.text(0, &sending(16 << 20, 64 << 20)).unwrap();
        assert!(second.starts_with("\r\x1b[K"), "{second:?}");
        let again = Progress::Again { why: "cut".to_owned(), pause: Duration::from_secs(1) };
        let third = terminal.text(0, &again).unwrap();
        assert!(third.starts_with("\r\x1b[K") && third.ends_with('\n'), "{third:?}");
        assert!(!terminal.open);
    }

    #[test]
    fn what_is_small_or_quiet_needs_no_lines() {
        assert_eq!(state(true).text(0, &sending(3 << 20, 3 << 20)), None);
        let mut quiet = State { quiet: true, ..state(false) };
        assert_eq!(quiet.text(0, &sending(64 << 20, 64 << 20)), None);
    }
}
