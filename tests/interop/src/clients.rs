//! One file per real client, named after its program: where the program is missing, its tests are not run.

mod chromium;
mod curl;
pub(crate) mod dig;
mod ffmpeg;
mod openssl;
mod ping;
mod tshark;
mod wrk;
