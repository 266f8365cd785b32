//! A page of the documentation with places that a command fills in: what lies between `<!-- NAME -->` and `<!-- end of NAME -->`.

use std::path::Path;

/// A page's text.
pub(super) struct Page(String);

impl Page {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Result<Page, String> {
        std::fs::read_to_string(path).map(Page).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Fills a place in.
    pub(super) fn put(&mut self, name: &str, what: &str) -> Result<(), String> {
        let [from, to] = [format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->")];
        let places = self.0.find(&from).map(|at| at + from.len()).zip(self.0.find(&to));
        let (from, to) =
            places.filter(|(from, to)| from <= to).ok_or(format!("the page has no place for {name}"))?;
        self.0.replace_range(from..to, &format!("\n{what}\n"));
        Ok(())
    }

    /// What it says now.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_filled_and_nothing_else() {
        let mut page = Page("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n".to_owned());
        page.put("x", "new").unwrap();
        assert_eq!(page.text(), "a\n<!-- x -->\n\nnew\n<!-- end of x -->\nb\n");
        page.put("x", "newer").unwrap();
        assert_eq!(page.text(), "a\n<!-- x -->\n\nnewer\n<!-- end of x -->\nb\n");
        assert!(page.put("y", "").is_err());
    }
}
