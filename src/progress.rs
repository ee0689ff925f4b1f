//! What a long piece of work says of itself. The library never talks to a terminal: the command line listens here.

/// Takes word of how far the work is. Calls come from any thread, and in any number.
pub trait Progress: Send + Sync {
    /// A step of the work begins. `total` is in the step's own units (rows, files, batches), where it is known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// The current step is `done` units further.
    fn advance(&self, done: u64);
    /// Something that a person should read, as one line without a full stop.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn note(&self, _line: &str) {}
}
