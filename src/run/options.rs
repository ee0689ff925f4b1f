//! How a run behaves.

use crate::balance::Balance;
use crate::dataset::KeyPart;
use crate::landing::LandingOptions;
use crate::window::Window;

/// What to do about keys that need a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The declared and the total order decide; the run goes on.
    Keep,
    /// No row of such a key goes in.
    Quarantine,
    /// The run stops before anything is written.
    Stop,
}

/// How a run behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Which rows are taken; `None`: all.
    pub window: Option<Window>,
    /// Keys whose rows number different events.
    pub on_suspect: Choice,
    /// Losers that tie with their winner and differ.
    pub on_conflict: Choice,
    /// Keys whose rows differ in a fixed column. They can't be quarantined.
    pub on_redated: Choice,
    /// How many rejects are too many; `None`: over 10 and over 0.1 % of the rows.
    pub max_rejects: Option<u64>,
    /// Whatever of the input would not come in is a reason to stop, as far as it is known before anything is written:
    /// rows that are rejected, and values of columns that the contract does not have. Its source is dropped afterwards.
    pub leaves_nothing_out: bool,
    /// How many days a batch has at most.
    pub days_per_batch: u32,
    /// Whether the key was chosen for this run, so that an input may lack one of its columns.
    pub key_chosen: bool,
    /// Whether all losers are written to a file, and not only the conflicts.
    pub keep_losers: bool,
    /// Whether the staged objects stay once the run is done.
    pub keep_staged: bool,
    /// Whether the landed rows of parts stay once the run is done, for [`super::Run::show_parts`].
    pub keep_parts: bool,
    /// The column that names rows of another table: its values are written down before the run is done.
    pub wants: Option<String>,
    /// Whether it ends before anything is written to the target.
    pub only_compares: bool,
    /// Whether what each merge is about to change is written down, so that it can be shown and taken back.
    pub keeps_changes: bool,
    /// Whether it brings rows into a table that is made to take the target's place: what it is called is never what the
    /// same rows are called on their way into the target.
    pub of_mend: bool,
    /// For how many days the staged winners that a proof names are kept, and a table that was moved aside.
    pub keep_days: u16,
    /// Another key by which the input was told apart until now.
    pub other_key: Option<Vec<KeyPart>>,
    /// Keys on which it disagrees.
    pub on_other_key: Choice,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            window: None,
            on_suspect: Choice::Stop,
            on_conflict: Choice::Keep,
            on_redated: Choice::Keep,
            max_rejects: None,
            leaves_nothing_out: false,
            days_per_batch: 16,
            key_chosen: false,
            keep_losers: false,
            keep_staged: false,
            keep_parts: false,
            wants: None,
            only_compares: false,
            keeps_changes: false,
            of_mend: false,
            keep_days: 30,
            other_key: None,
            on_other_key: Choice::Stop,
        }
    }
}

impl RunOptions {
    /// The settings that decide which rows come out, as text for names.
    pub(super) fn flags(&self) -> String {
        let days = self.days_per_batch;
        let other = match &self.other_key {
            Some(key) => format!(" {key:?} {:?}", self.on_other_key),
            None => String::new(),
        };
        let mend = if self.of_mend { " mend" } else { "" };
        format!("{:?} {:?} {:?} {days}{other}{mend}", self.window, self.on_suspect, self.on_conflict)
    }

    /// How rows land now, in microseconds since 1970-01-01 UTC.
    pub fn landing_options(&self, now_us: i64) -> LandingOptions {
        let mut options = LandingOptions::new(now_us);
        options.window = self.window;
        options.key_chosen = self.key_chosen;
        options
    }

    /// The short names of the reasons to stop that an input with this balance gives.
    pub fn reasons_to_stop(&self, balance: &Balance) -> Vec<String> {
        let rejected = self.too_many_rejects(balance.landing.rejected, balance.landing.read);
        let suspect = self.on_suspect == Choice::Stop && balance.suspect.keys > 0;
        let conflict = self.on_conflict == Choice::Stop && balance.losers.conflict > 0;
        let redated = self.on_redated == Choice::Stop && balance.redated.keys > 0;
        [(rejected, "rejects"), (suspect, "suspect_keys"), (conflict, "conflicts"), (redated, "redated_keys")]
            .into_iter()
            .filter(|(stops, _)| *stops)
            .map(|(_, name)| name.to_string())
            .collect()
    }

    pub(super) fn too_many_rejects(&self, rejected: u64, read: u64) -> bool {
        match self.max_rejects {
            _ if self.leaves_nothing_out => rejected > 0,
            Some(most) => rejected > most,
            None => rejected > 10 && rejected * 1000 > read,
        }
    }
}
