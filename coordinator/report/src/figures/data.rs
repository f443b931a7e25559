//! The numbers behind a figure, as CSV.

use crate::results::{Estimate, Spread};

/// A table of numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Data {
    /// An empty table.
    pub fn new(columns: &[&'static str]) -> Data {
        Data { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(row);
    }

    /// The table with a head, as RFC 4180 has it (but for the line ends).
    pub fn csv(&self) -> String {
        let quoted = |cell: &str| {
            if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
        };
        let mut out = self.columns.join(",");
        for row in &self.rows {
            out.push('\n');
            out += &row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
        }
        out.push('\n');
        out
    }
}

/// A number, or nothing where it is undefined.
pub fn number(value: f64) -> String {
    if value.is_finite() { format!("{:.6}", value).trim_end_matches('0').trim_end_matches('.').to_owned() } else { String::new() }
}

/// The columns of [`spread`].
pub const SPREAD: [&str; 4] = ["sampling_seeds", "lowest_seed", "highest_seed", "sd_of_seeds"];

/// What several sampling seeds say apart; nothing where there are none.
pub fn spread(s: Option<Spread>) -> [String; 4] {
    s.map_or_else(Default::default, |s| [s.seeds.to_string(), number(s.lowest), number(s.highest), number(s.sd)])
}

/// An estimate as the cells value, lo, hi, n.
pub fn estimate(e: Option<Estimate>) -> [String; 4] {
    match e {
        None => Default::default(),
        Some(e) => {
            let end = |v: Option<f64>| v.map_or_else(String::new, number);
            [number(e.value), end(e.lo), end(e.hi), if e.n == 0 { String::new() } else { e.n.to_string() }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        let mut data = Data::new(&["a", "b"]);
        data.push(vec!["x, \"y\"".to_owned(), number(0.25)]);
        data.push(vec![number(f64::NAN), number(-2.0)]);
        assert_eq!(data.csv(), "a,b\n\"x, \"\"y\"\"\",0.25\n,-2\n");
    }
}
