module example.org/prvng/files-go

go 1.19
