;; A number that follows from the arguments: FNV-1a, 32 bits. Compiled (`wat2wasm fingerprint.wat`, then base64) it stands in tools/fingerprint.yaml.
(module
  (memory (export "memory") 16)
  ;; Each call has an instance of its own, so that one place is enough.
  (func (export "alloc") (param $size i32) (result i32)
    (i32.const 1024))
  (func (export "call") (param $at i32) (param $length i32) (result i64)
    (local $end i32)
    (local $hash i32)
    (local $digit i32)
    (local.set $hash (i32.const 0x811c9dc5))
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $read
      (loop $byte
        (br_if $read (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $hash
          (i32.mul
            (i32.xor (local.get $hash) (i32.load8_u (local.get $at)))
            (i32.const 16777619)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $byte)))
    ;; Decimal digits, from the last to the first.
    (local.set $digit (i32.const 32))
    (loop $next
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (i32.store8
        (local.get $digit)
        (i32.add (i32.const 48) (i32.rem_u (local.get $hash) (i32.const 10))))
      (local.set $hash (i32.div_u (local.get $hash) (i32.const 10)))
      (br_if $next (local.get $hash)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $digit)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (i32.const 32) (local.get $digit))))))
