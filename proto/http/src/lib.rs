//! HTTP/1.1 requests, ranges, conditions and response heads.
