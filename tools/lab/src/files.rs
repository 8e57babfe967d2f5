//! Files whose sizes are those of a CDN's requests: the trace of the dissertation's figure 3.5, as many as wanted.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};

use lab::error::ProgramError;
use lab::load::choice::cdn_size;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::cli::Files;

/// Makes them, and prints their list. What is there with the right size is kept.
pub(crate) fn make(arguments: &Files) -> Result<(), ProgramError> {
    let directory = &arguments.directory;
    let failed = |source: io::Error| ProgramError::File { path: directory.clone(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for number in 0..arguments.count {
        let share = (f64::from(number) + 0.5) / f64::from(arguments.count);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 300 bytes and 20 MB"
        )]
        let bytes = cdn_size(share) as usize;
        let name = format!("{number:06}.bin");
        let path = directory.join(&name);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == bytes as u64) {
            writeln!(out, "{}/{name} {bytes}", arguments.base).map_err(ProgramError::Output)?;
            continue;
        }
        let mut content = vec![0; bytes];
        SmallRng::seed_from_u64(number.into()).fill_bytes(&mut content);
        File::create(&path).and_then(|mut file| file.write_all(&content)).map_err(failed)?;
        writeln!(out, "{}/{name} {bytes}", arguments.base).map_err(ProgramError::Output)?;
    }
    out.flush().map_err(ProgramError::Output)
}
