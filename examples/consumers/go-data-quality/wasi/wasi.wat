;; What Go's wasip1 port needs of WASI preview 1, made of the few interfaces that a consumer may import: its clocks, random
;; numbers, and logging for standard output and error. There are no files, arguments or environment. `wasm-tools component new`
;; puts it between the Go module and its imports; unlike the usual adapter it calls nothing of the module, which may not yet run.
;; https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md
(module
  (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $monotonic (result i64)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
  (import "env" "memory" (memory 0))

  ;; errno
  (global $SUCCESS i32 (i32.const 0))
  (global $BADF i32 (i32.const 8))
  (global $NOTSUP i32 (i32.const 58))

  (func (export "args_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (call $nothing (local.get $count) (local.get $bytes)))
  (func (export "environ_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (call $nothing (local.get $count) (local.get $bytes)))
  (func $nothing (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (global.get $SUCCESS))
  (func (export "args_get") (param i32 i32) (result i32) (global.get $SUCCESS))
  (func (export "environ_get") (param i32 i32) (result i32) (global.get $SUCCESS))

  (func (export "fd_prestat_get") (param i32 i32) (result i32) (global.get $BADF))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (global.get $BADF))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (global.get $BADF))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (global.get $BADF))
  (func (export "fd_close") (param i32) (result i32) (global.get $BADF))

  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $count i32) (param $written i32) (result i32)
    (local $all i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (global.get $BADF))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (call $log
          (select (i32.const 4) (i32.const 2) (i32.eq (local.get $fd) (i32.const 2))) ;; error, info
          (i32.const 0) (i32.const 0)
          (i32.load (local.get $parts)) (i32.load offset=4 (local.get $parts)))
        (local.set $all (i32.add (local.get $all) (i32.load offset=4 (local.get $parts))))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $all))
    (global.get $SUCCESS))

  ;; The wall clock answers with 16 bytes where preview 1 has 8; what lay behind them is put back.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (local $behind i64)
    (if (local.get $clock)
      (then (i64.store (local.get $time) (call $monotonic)))
      (else
        (local.set $behind (i64.load offset=8 (local.get $time)))
        (call $wall (local.get $time))
        (i64.store (local.get $time)
          (i64.add
            (i64.mul (i64.load (local.get $time)) (i64.const 1000000000))
            (i64.load32_u offset=8 (local.get $time))))
        (i64.store offset=8 (local.get $time) (local.get $behind))))
    (global.get $SUCCESS))

  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $bits i64)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $bits (call $random))
        (loop $byte
          (i64.store8 (local.get $at) (local.get $bits))
          (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))
          (br_if $done (i32.eqz (local.get $length)))
          (br_if $byte (i32.and (local.get $length) (i32.const 7))))
        (br $next)))
    (global.get $SUCCESS))

  (func (export "sched_yield") (result i32) (global.get $SUCCESS))
  ;; Go waits so, for a timer alone, when no goroutine can run. What a consumer waits counts against its time limit.
  (func (export "poll_oneoff") (param $asked i32) (param $event i32) (param $count i32) (param $events i32) (result i32)
    (local $until i64)
    (if (i32.load8_u offset=8 (local.get $asked)) (then (return (global.get $NOTSUP)))) ;; Not a clock.
    (local.set $until (i64.load offset=24 (local.get $asked)))
    (if (i32.eqz (i32.load16_u offset=40 (local.get $asked))) ;; From now on.
      (then (local.set $until (i64.add (call $monotonic) (local.get $until)))))
    (loop $wait (br_if $wait (i64.lt_u (call $monotonic) (local.get $until))))
    (memory.fill (local.get $event) (i32.const 0) (i32.const 32))
    (i64.store (local.get $event) (i64.load (local.get $asked))) ;; Its user data.
    (i32.store (local.get $events) (i32.const 1))
    (global.get $SUCCESS))
  (func (export "proc_exit") (param i32) unreachable)
)
