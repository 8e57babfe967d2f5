//! The program, run by an interpreter of our own beside a model that was written from the issue, not from the program.
