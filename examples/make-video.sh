#!/bin/sh
# Makes examples/video: 24 s of ffmpeg's test picture and a rising tone as HLS with CMAF segments, under 2 MB in all.
#
#   video/master.m3u8            two pictures to choose from, one sound
#   video/360p/  video/180p/     H.264 main profile, 25 pictures/s, a key picture every 2 s
#   video/sound/                 AAC-LC, 48 kHz, mono
#   video/poster.jpg             one picture, for the catalogue
#
# The result is committed; this script is here so that anybody can see what it is and make it again.
# Needs ffmpeg with libx264 (Debian: apt-get install ffmpeg).
set -eu

cd "$(dirname "$0")"
rm -rf video
mkdir -p video

seconds=24
ffmpeg -hide_banner -loglevel error -nostdin \
    -f lavfi -i "testsrc2=size=640x360:rate=25:duration=$seconds" \
    -f lavfi -i "aevalsrc='0.2*sin(2*PI*(220*t+4*t*t))':sample_rate=48000:duration=$seconds" \
    -filter_complex "[0:v]format=yuv420p,split[large][s];[s]scale=320:180[small]" \
    -map "[large]" -map "[small]" -map 1:a \
    -c:v libx264 -profile:v main -preset veryslow -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 -threads 1 \
    -b:v:0 260k -maxrate:v:0 320k -bufsize:v:0 520k \
    -b:v:1 90k -maxrate:v:1 115k -bufsize:v:1 180k \
    -c:a aac -b:a 48k \
    -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -f hls -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags independent_segments \
    -hls_fmp4_init_filename init.mp4 -hls_segment_filename 'video/%v/segment-%02d.m4s' \
    -master_pl_name master.m3u8 \
    -var_stream_map "v:0,agroup:sound,name:360p v:1,agroup:sound,name:180p a:0,agroup:sound,default:yes,name:sound" \
    'video/%v/index.m3u8'

ffmpeg -hide_banner -loglevel error -nostdin -f lavfi -i "testsrc2=size=640x360:rate=25:duration=8" \
    -ss 7 -frames:v 1 -fflags +bitexact -flags:v +bitexact -q:v 6 video/poster.jpg

ffprobe -hide_banner -loglevel error -show_entries format=duration,nb_streams -of default=noprint_wrappers=1 video/master.m3u8
du -sb video
