set logscale xy
set xlabel "part of the requests that take longer"
set ylabel "time to first byte, µs"
set xtics ("1/2" 2, "1/10" 10, "1/100" 100, "1/1000" 1000)
set xrange [1:2000]
plot for [i = 0:count - 1] data index i using 1:2 with linespoints lt colour_of(i) \
	title columnheader(1)
