//! The one statement that only BigQuery has: every count of a comparison at once, since each job takes its time and
//! each is billed for what it reads.

use super::super::statements::Statements;
use crate::error::Result;
use crate::window::Day;
use std::collections::BTreeSet;

impl Statements<'_> {
    /// All rows of the target on these days, every column of it.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn whole_rows(&self, touched: &BTreeSet<Day>) -> Result<String> {
        Ok(format!("SELECT * FROM {} WHERE {}", self.target, self.touched("", touched)?))
    }

    /// Columns of all rows of the target that have a day, for a table that wants to be told of which days.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn all_of<'a>(&self, columns: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let columns = self.exprs().columns("", columns)?;
        Ok(format!("SELECT {columns} FROM {} WHERE {} >= DATE '0001-01-01'", self.target, self.day_of_target("")?))
    }

    /// The counts of a comparison, in their order, and the suspects among the witnesses.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn counts_at_once(&self, touched: &BTreeSet<Day>, has_witnesses: bool) -> Result<String> {
        let repeated = format!("(SELECT COUNT(*) FROM ({}) AS r)", self.repeated(touched)?);
        let unfolded = match self.unfolded(touched)? {
            Some(sql) => format!("(SELECT COUNT(*) FROM ({sql}) AS u)"),
            None => "0".into(),
        };
        let witnesses = match has_witnesses {
            true => format!("({})", self.suspect_witnesses(touched)?),
            false => "0".into(),
        };
        Ok(format!(
            "SELECT c.*, {repeated} AS repeated, {unfolded} AS unfolded, {witnesses} AS witnesses\nFROM ({}) AS c",
            self.compare(touched)?
        ))
    }
}
