#!/bin/sh
# Takes out of an environment what no process here loads: tests, headers, sources of extensions, Arrow's clients of
# Flight and S3, tools for those who build extensions of numpy, Confluent's schema registry, what rich could highlight
# beside Python, and the symbols that only a debugger reads: a third of its size.
set -eu
site=$(echo "$1"/lib/python3*/site-packages)
find "$site" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.h' -o -name '*.a' \) \
  -delete
if [ -d "$site/pyarrow" ]; then
  cd "$site/pyarrow"
  # Not libarrow_substrait, which nobody calls: every module of Arrow is linked to it.
  rm -rf include includes src libarrow_flight.so* libarrow_python_flight.so* _flight.*.so libarrow_s3.so* _s3fs.*.so
  rm -f _pyarrow_cpp_tests.*.so
  # The wheel holds one library three times, since it can hold no links; the versioned name is the one linked to.
  rm -f libarrow_python.so libarrow_python.so.*.*.* libarrow_python_*.so libarrow_python_*.so.*.*.*
fi
if [ -d "$site/numpy" ]; then
  cd "$site/numpy"
  rm -rf distutils f2py _core/_simd.*.so _core/*_tests.*.so
fi
rm -rf "$site/confluent_kafka/schema_registry" "$site/confluent_kafka/kafkatest"
if [ -d "$site/pygments/lexers" ]; then
  find "$site/pygments/lexers" -type f ! -name '__init__.*' ! -name '_mapping.*' ! -name 'python.*' ! -name 'special.*' \
    -delete
fi
# Not the libraries that wheels bring along in *.libs: their loaders' tables were moved, and stripping breaks them.
find "$site" -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
