//! The lines of a text, each of bounded length.

use std::io::{self, BufRead, BufReader, Read};

use super::ROW_MAX;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The lines of an input. Empty lines at its end are none.
pub struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    /// Number of the line that was returned last, from 1.
    pub number: u64,
    /// Empty lines that count only if something follows, and what follows.
    empty: u64,
    held: Option<Result<Vec<u8>, String>>,
    begun: bool,
}

impl Lines {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        let input = BufReader::with_capacity(64 * 1024, input);
        Self { input, number: 0, empty: 0, held: None, begun: false }
    }

    /// Whether another line is here already.
    pub fn has_more(&self) -> bool {
        self.held.is_some() || self.input.buffer().contains(&b'\n')
    }

    /// The next line with its end.
    pub fn next(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        while self.held.is_none() {
            match self.read()? {
                None => return Ok(None),
                Some(Ok(line)) if line.trim_ascii().is_empty() => self.empty += 1,
                Some(line) => self.held = Some(line),
            }
        }
        self.number += 1;
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(Some(Ok(Vec::new())));
        }
        Ok(self.held.take())
    }

    fn read(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        self.input.by_ref().take(ROW_MAX as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.last() == Some(&b'\n') || line.len() < ROW_MAX - BOM.len() {
            return Ok(Some(Ok(line)));
        }
        self.skip_line()?;
        Ok(Some(Err(format!("longer than {ROW_MAX} bytes"))))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let (used, found) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.input.consume(used);
            if found {
                return Ok(());
            }
        }
    }
}

/// How many lines there are. Empty ones at the end are none.
pub fn count(mut input: impl Read) -> io::Result<u64> {
    let (mut lines, mut full, mut buffer) = (0, 0, vec![0; 64 * 1024]);
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(full);
        }
        for &byte in &buffer[..read] {
            if byte == b'\n' {
                lines += 1;
            } else if !byte.is_ascii_whitespace() {
                full = lines + 1;
            }
        }
    }
}
