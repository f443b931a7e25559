//! What a page is made of: sections, and the blocks in them.

use serde::Serialize;

use crate::figures::Figure;

/// Bytes of CSV up to which a figure brings its numbers inside the page; beyond, the page points to the file beside it.
const INLINE: usize = 200_000;

/// The widest a column of words is made on a narrow screen, in characters; longer texts are broken.
const WORDS: usize = 32;

/// Rows beyond which a table is folded.
const LONG: usize = 28;

/// One part of the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Sentences under the heading.
    pub lead: Vec<String>,
    /// What follows.
    pub blocks: Vec<Block>,
}

/// What stands under a section's lead.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Block {
    /// A figure, with what a script and a download need.
    Figure {
        /// The figure.
        figure: Figure,
        /// Its marks, as JSON.
        marks: String,
        /// Where its numbers are: a `data:` URL, or the file beside the page.
        csv: String,
    },
    /// A table.
    Table(Table),
    /// A text to look at closely.
    Code {
        /// What it is.
        caption: String,
        /// The text.
        text: String,
    },
    /// Points.
    List {
        /// One each.
        items: Vec<String>,
    },
}

/// A table; the first column heads its rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Long tables are folded.
    folded: bool,
}

/// A column's head, and whether it holds numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Column {
    name: String,
    number: bool,
    /// Of a column of words, how many characters its cells need beside one another; at most [`WORDS`].
    width: usize,
}

/// A cell: what is read, and what it is sorted by where that doesn't follow from the text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    text: String,
    key: Option<f64>,
}

impl Cell {
    /// A text that is sorted by a number.
    pub fn sorted(text: impl Into<String>, key: f64) -> Cell {
        Cell { text: text.into(), key: Some(key).filter(|k| k.is_finite()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, key: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell { text: text.to_owned(), key: None }
    }
}

/// What stands where there is no value.
pub const DASH: &str = "–";

/// A cell without a value.
pub fn dash() -> Cell {
    DASH.into()
}

/// A row of plain cells.
pub fn cells<const N: usize>(texts: [String; N]) -> Vec<Cell> {
    texts.into_iter().map(Cell::from).collect()
}

impl Section {
    /// An empty section.
    pub fn new(id: &'static str, title: &'static str) -> Section {
        Section { id, title, lead: Vec::new(), blocks: Vec::new() }
    }

    /// Adds a sentence to the lead.
    pub fn say(&mut self, sentence: impl Into<String>) {
        self.lead.push(sentence.into());
    }

    /// Adds a figure by name, if it was drawn.
    pub fn figure(&mut self, figures: &[Figure], name: &str) {
        if let Some(figure) = figures.iter().find(|f| f.name == name) {
            let csv = figure.data.csv();
            let csv =
                if csv.len() <= INLINE { format!("data:text/csv;charset=utf-8,{}", encoded(&csv)) } else { format!("figures/{name}.csv") };
            self.blocks.push(Block::Figure { marks: figure.marks(), csv, figure: figure.clone() });
        }
    }

    /// Adds a table unless it has no rows; a column of numbers without any is left out. A leading `#` marks one.
    pub fn table(&mut self, caption: impl Into<String>, columns: &[&str], mut rows: Vec<Vec<Cell>>) {
        if rows.is_empty() {
            return;
        }
        let valued = |at: usize| rows.iter().any(|row| row[at].text != DASH);
        let kept: Vec<bool> = columns.iter().enumerate().map(|(at, name)| !name.starts_with('#') || valued(at)).collect();
        let columns: Vec<&str> = columns.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(name, _)| *name).collect();
        for row in &mut rows {
            let mut kept = kept.iter();
            row.retain(|_| *kept.next().expect("as many cells as columns"));
        }
        let column = |(at, c): (usize, &&str)| Column {
            name: c.trim_start_matches('#').to_owned(),
            number: c.starts_with('#'),
            width: rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count()).max().unwrap_or(0).min(WORDS),
        };
        let folded = rows.len() > LONG;
        self.blocks.push(Block::Table(Table {
            caption: caption.into(),
            columns: columns.iter().enumerate().map(column).collect(),
            rows,
            folded,
        }));
    }
}

/// A text as it stands in a URL: what would end it, or stand for something else, is escaped.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b',' | b'.' | b'-' | b'_' | b':' | b'/' | b'(' | b')' => out.push(byte as char),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Block, Section, cells, dash, encoded};

    #[test]
    fn a_column_of_numbers_without_any_is_left_out() {
        let mut section = Section::new("id", "Title");
        let row = |number: &str| vec!["a".into(), dash(), number.into(), dash()];
        section.table("caption", &["name", "word", "#some", "#none"], vec![row("1"), row("–")]);
        let [Block::Table(table)] = section.blocks.as_slice() else { panic!("{section:?}") };
        assert_eq!(table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["name", "word", "some"]);
        assert_eq!(table.rows[1], cells(["a".to_owned(), "–".to_owned(), "–".to_owned()]));
    }

    #[test]
    fn a_url_keeps_what_it_carries() {
        assert_eq!(encoded("a,b\n\"x\" 5%,é"), "a,b%0A%22x%22%205%25,%C3%A9");
    }
}
