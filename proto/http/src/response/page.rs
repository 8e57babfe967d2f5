//! The page that explains an error to a person.

use super::{EmitError, Lines};
use crate::status::Status;

/// No error page is longer, if its sentence has at most 200 bytes.
pub const PAGE_BYTES_MAX: usize = 768;

/// Writes a small HTML page for `status` to the front of `out`; its length in bytes. `sentence` is ours, and plain
/// text: nothing of the request is repeated in the page, so that nothing can be smuggled into it.
///
/// # Errors
/// The page does not fit.
pub fn error_page(status: Status, sentence: &str, out: &mut [u8]) -> Result<usize, EmitError> {
    let mut lines = Lines::new(out);
    let text = status.text();
    lines.put(b"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">")?;
    lines.put(b"<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">")?;
    lines.put(b"<title>")?;
    lines.text(text)?;
    lines.put(b"</title>")?;
    lines.put(b"<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem}</style>")?;
    lines.put(b"<h1>")?;
    lines.text(text)?;
    lines.put(b"</h1><p>")?;
    lines.text(sentence)?;
    lines.put(b"</p></html>\n")?;
    Ok(lines.len)
}
