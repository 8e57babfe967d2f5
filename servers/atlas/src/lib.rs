//! Atlas: video from disk, clocked by TCP.
