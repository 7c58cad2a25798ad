//! Lines and tables that are no wider than the screen, and their colours. Pure.

use crate::commands::table::{padded, width, wrapped};
use crate::path::as_written;

/// Whether text has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// No control character.
    #[default]
    Off,
    /// As ECMA-48 says.
    On,
}

/// Where text is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The width of a line. `None` means no limit.
    pub columns: Option<usize>,
    /// Whether it has colours.
    pub colours: Colours,
}

/// The look of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// As everything else.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// In trouble.
    Red,
    /// Held.
    Yellow,
    /// In sync.
    Green,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The text. It may contain anything.
    pub text: String,
    /// Its look.
    pub paint: Paint,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, paint: Paint::Plain }
    }
}

impl Cell {
    /// A cell that is shown like this.
    pub fn painted(text: String, paint: Paint) -> Self {
        Cell { text, paint }
    }
}

/// What a cell without content has.
pub const EMPTY: &str = "-";

impl Screen {
    /// The text in a colour, if the screen has colours.
    fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match (self.colours, paint) {
            (Colours::Off, _) | (_, Paint::Plain) => return text.to_owned(),
            (_, Paint::Bold) => "1",
            (_, Paint::Red) => "31",
            (_, Paint::Yellow) => "33",
            (_, Paint::Green) => "32",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// One statement: a line, or several if it is too wide. What continues it is indented further than its beginning.
    pub fn line(&self, paint: Paint, text: &str) -> String {
        let safe = as_written(text.as_bytes());
        let lines = match self.columns {
            Some(columns) => wrapped(&safe, columns),
            None => vec![safe],
        };
        lines.iter().map(|line| self.paint(paint, line) + "\n").collect()
    }

    /// The rows of a table, each with its line break; the first row is the heading. If they are too wide, columns are
    /// left out: first those without any content, then the others, in the order of `less` each. What is still too wide
    /// is wrapped.
    pub fn table(&self, rows: &[Vec<Cell>], less: &[usize]) -> Vec<String> {
        let cell = |c: &Cell| Cell { text: as_written(c.text.as_bytes()), ..c.clone() };
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let of = |n: usize| rows.iter().filter_map(move |row| row.get(n));
        let widths: Vec<usize> =
            (0..count).map(|n| of(n).map(|c| width(&c.text)).max().unwrap_or(0)).collect();
        let is_empty = |n: &usize| of(*n).skip(1).all(|c| c.text == EMPTY);
        let mut kept: Vec<usize> = (0..count).collect();
        let first = less.iter().copied().filter(is_empty);
        for n in first.chain(less.iter().copied()) {
            let wide: usize = kept.iter().map(|n| widths[*n] + 2).sum();
            if self.columns.is_none_or(|columns| wide <= columns + 2) {
                break;
            }
            kept.retain(|k| *k != n);
        }
        let row = |row: &Vec<Cell>| {
            self.row(kept.iter().filter_map(|n| Some((row.get(*n)?, widths[*n]))))
        };
        rows.iter().map(row).collect()
    }

    fn row<'a>(&self, cells: impl Iterator<Item = (&'a Cell, usize)>) -> String {
        let cells: Vec<(&Cell, usize)> = cells.collect();
        let plain: String = cells.iter().map(|(c, wide)| padded(&c.text, wide + 2)).collect();
        let plain = plain.trim_end();
        if self.columns.is_some_and(|columns| width(plain) > columns) {
            return self.line(Paint::Plain, plain);
        }
        let one = |(c, wide): &(&Cell, usize)| {
            let space = padded(&c.text, wide + 2).split_off(c.text.len());
            self.paint(c.paint, &c.text) + &space
        };
        cells.iter().map(one).collect::<String>().trim_end().to_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn screen(columns: usize) -> Screen {
        Screen { columns: Some(columns), colours: Colours::Off }
    }

    #[test]
    fn no_text_controls_the_terminal() {
        assert_eq!(Screen::default().line(Paint::Red, "a\u{1b}[2J\nb"), "a\\x1b[2J\\x0ab\n");
        let row = vec![Cell::from("\u{202e}x".to_owned())];
        assert_eq!(Screen::default().table(&[row], &[]), ["\\xe2\\x80\\xaex\n"]);
    }

    fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
        let cells = |row: &&[&str]| row.iter().map(|c| Cell::from((*c).to_owned())).collect();
        rows.iter().map(cells).collect()
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out() {
        let all = rows(&[&["NAME", "A", "BBBB", "CC"], &["x", "1", "-", "3"]]);
        let shown = |columns: usize| screen(columns).table(&all, &[3, 2]).concat();
        assert_eq!(shown(18), "NAME  A  BBBB  CC\nx     1  -     3\n");
        assert_eq!(shown(17), shown(18));
        assert_eq!(shown(16), "NAME  A  CC\nx     1  3\n", "the empty one first");
        assert_eq!(shown(10), "NAME  A\nx     1\n");
        assert_eq!(shown(4), "NAME\n  A\nx\n  1\n", "the rest wraps");
        assert_eq!(Screen::default().table(&all, &[3, 2]).concat(), shown(99));
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let colours = Screen { columns: Some(9), colours: Colours::On };
        let red = |text: &str| Cell::painted(text.into(), Paint::Red);
        let text = colours.table(&[vec![red("目录"), red("x")], vec![red("a"), red("y")]], &[]);
        assert_eq!(text[0], "\u{1b}[31m目录\u{1b}[0m  \u{1b}[31mx\u{1b}[0m\n");
        assert_eq!(text[1], "\u{1b}[31ma\u{1b}[0m     \u{1b}[31my\u{1b}[0m\n");
        assert_eq!(colours.line(Paint::Plain, "a"), "a\n");
    }
}
